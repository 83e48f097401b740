"""Writes what running tasks say of themselves: comments each, of progress the latest, twice a second at most."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable

from natsume.control import Stop, TaskControl
from natsume.exceptions import BrokerError, UsageError
from natsume.model import limits, times
from natsume.model.told import Commented, Progress, Progressed
from natsume.runtime.run import Run
from natsume.service.insist import insist

_log = logging.getLogger(__name__)


Tell = Callable[[Progressed | Commented], Awaitable[None]]
"""Writes what a task says of itself."""


class Telling:
    """What the runs of one worker write."""

    def __init__(self, tell: Tell, now: Callable[[], float]) -> None:
        self.tell = tell
        self.now = now
        self.loop = asyncio.get_running_loop()
        self._writing: set[asyncio.Task[None]] = set()

    def control(self, run: Run) -> TaskControl:
        """The one control of a run, made when it is first asked for."""
        if run.teller is None:
            run.teller = RunTeller(run, self)
        return TaskControl(run.teller)

    def hear(self) -> None:
        """Learn whether a run is to stop; on a loop that is shared there is nothing to ask for."""

    def write(self, record: Progressed) -> None:
        """Write a record; nothing waits for it."""

        async def write() -> None:
            try:
                await self.tell(record)
            except BrokerError as error:
                _log.info("the progress of task %s could not be recorded: %s", record.id, error)

        task = asyncio.get_running_loop().create_task(write())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)


class RunTeller:
    """Passes on what one run says (a Teller); throttles its progress, the last of which its end carries anyway."""

    __slots__ = ("_comments", "_loop", "_run", "_telling", "_timer", "_told_at")

    def __init__(self, run: Run, telling: Telling) -> None:
        self._run = run
        self._telling = telling
        self._loop = telling.loop  # this may be a thread's call
        self._told_at = -times.PROGRESS_EVERY_S
        self._timer: asyncio.TimerHandle | None = None
        self._comments = 0

    @property
    def stop(self) -> Stop | None:
        """Why the task is to stop: cancelled counts more than overdue, and that more than shut down."""
        self._telling.hear()
        if self._run.flag is not None:
            return Stop.CANCELLED
        if self._run.interrupted_by == "timeout":
            return Stop.TIMEOUT
        return Stop.SHUTDOWN if self._run.stopping else None

    async def progress(self, progress: Progress) -> None:
        """Tell how far the task is, now or when it is time."""
        self._run.progress = progress
        if self._timer is not None:
            return
        wait_s = self._told_at + times.PROGRESS_EVERY_S - self._loop.time()
        if wait_s > 0:
            self._timer = self._loop.call_later(wait_s, self._tell)
            return
        self._tell()
        await asyncio.sleep(0)  # a task that awaits nothing else lets it out

    async def comment(self, text: str) -> None:
        """Keep a comment of the task's own; raises UsageError for one too many."""
        self._comments += 1
        task = self._run.delivery.task
        if self._comments > limits.COMMENTS_MAX:
            raise UsageError(f"{task.actor}: a run may make {limits.COMMENTS_MAX} comments; use progress() for more")
        record = Commented(task.id, os.urandom(6).hex(), task.actor, self._telling.now(), text)
        try:
            await insist(lambda _: self._telling.tell(record))
        except BrokerError as error:
            _log.warning("a comment of task %s is lost: %s; it was: %s", task.id, error, text)

    def end(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        run, progress = self._run, self._run.progress
        self._timer, self._told_at = None, self._loop.time()
        assert progress is not None
        task, at = run.delivery.task, self._telling.now()
        run.told_at = self._told_at
        self._telling.write(Progressed(task.id, task.actor, task.attempt, run.rules.worker, at, progress))
