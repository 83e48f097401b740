"""Does for a task in a slot what it asks for, and answers."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, Final

import msgspec

from natsume.exceptions import BrokerError, NatsumeError
from natsume.model import limits
from natsume.model.record import Done
from natsume.model.told import Commented, Progressed
from natsume.runtime.reaching import Reach
from natsume.runtime.run import Run
from natsume.slots import frames
from natsume.slots.channel import Channel

_log = logging.getLogger(__name__)

_ROOM: Final = limits.FRAME_MAX // 2


class Answering:
    """Serves one run until it ends; what it has asked for until then and does not have, it does not get."""

    def __init__(self, run: Run, reach: Reach, channel: Channel) -> None:
        self._run = run
        self._reach = reach
        self._channel = channel
        self._locker = reach.locker(run)
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def take(self, request: frames.Request) -> None:
        """Serve a request; raises Bad for too many at a time."""
        if len(self._tasks) >= 2 * limits.SLOT_REQUESTS_MAX or request.number in self._tasks:
            raise frames.Bad(f"it sent more than {limits.SLOT_REQUESTS_MAX} requests at a time")
        task = asyncio.get_running_loop().create_task(self._serve(request))
        self._tasks[request.number] = task
        task.add_done_callback(lambda _: self._tasks.pop(request.number, None))

    def withdraw(self, number: int) -> None:
        """Serve a request no more."""
        if number in self._tasks:
            self._tasks[number].cancel()

    def said(self, frame: frames.Said) -> None:
        """Write how far the task is."""
        run, task = self._run, self._run.delivery.task
        run.progress, run.told_at = frame.progress, asyncio.get_running_loop().time()
        at = self._reach.now()
        self._reach.telling.write(Progressed(task.id, task.actor, task.attempt, run.rules.worker, at, frame.progress))

    async def end(self) -> None:
        """Stop serving."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, request: frames.Request) -> None:
        try:
            value = await self._doing(request)
            answer = frames.Answer(request.number, msgspec.Raw(frames.encode(value)))
        except NatsumeError as error:
            code = error.code if isinstance(error, BrokerError) else 0
            answer = frames.Answer(request.number, error=type(error).__name__, sentence=str(error), code=code)
        except Exception as error:  # noqa: BLE001 - who asked waits for an answer
            _log.exception("a request of task %s failed", self._run.delivery.task.id)
            answer = frames.Answer(request.number, error="NatsumeError", sentence=f"its worker failed: {error}")
        self._channel.send(answer)

    def _doing(self, request: frames.Request) -> Awaitable[Any]:
        reach, task = self._reach, self._run.delivery.task
        match request:
            case frames.Submit():
                return reach.submit(request.task, request.due)
            case frames.WriteChunk():
                return reach.write_chunk(self._run, request.count, request.chunk)
            case frames.Hold():
                return self._locker.hold(request.want, request.wait_s)
            case frames.GiveBack():
                return self._locker.give_back(request.want)
            case frames.Comment():
                text = request.text[: limits.COMMENT_MAX]
                return reach.telling.tell(Commented(task.id, request.key, task.actor, reach.now(), text))
            case frames.ReadJoins():
                return reach.read_joins(request.ids)
            case frames.ReadEnds():
                return self._ends(request.ids)
        raise AssertionError(f"{type(request).__name__} is no request")

    async def _ends(self, ids: list[str]) -> tuple[dict[str, Done], int]:
        """The done records of the first of these tasks, as many as fit in one answer, and how many these are."""
        found = await self._reach.read_ends(ids)
        part: dict[str, Done] = {}
        size = count = 0
        for task_id in ids:
            if (done := found.get(task_id)) is not None:
                size += len(frames.encode(done))
                if part and size > _ROOM:
                    break
                part[task_id] = done
            count += 1
        return part, count
