"""Counts what a worker ran of each actor, and says what the worker is; read from any thread."""

import os
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Final

from natsume.actors.registry import Actor, Registry
from natsume.core import events as ev
from natsume.enums import Size
from natsume.model import limits, subject
from natsume.model.workers import ActorWork, WorkerState
from natsume.runtime.execute import Ended
from natsume.runtime.intake import Intake
from natsume.runtime.run import Run
from natsume.runtime.watch import Watch

_BLOCKED_S: Final = 1.0
_ERROR_MAX: Final = 200
_COUNTED: Final = (ev.Returned, ev.Raised, ev.Honoured)


class _Count:
    __slots__ = ("failures", "last_error", "runs", "wall_s")

    def __init__(self) -> None:
        self.runs = self.failures = 0
        self.wall_s = 0.0
        self.last_error = ""


class Tally:
    """The counts of one worker; they begin at zero with it."""

    def __init__(
        self, registry: Registry, size: Size, worker: str, nonce: str, now: Callable[[], float] = time.time
    ) -> None:
        self._actors = [actor for actor in registry.actors if actor.lane.size is size]
        self._size = size
        self._worker = worker
        self._nonce = nonce
        self._started = now()
        self._host = socket.gethostname()
        self._version = version("natsume")
        self._counts: defaultdict[str, _Count] = defaultdict(_Count)

    def count(self, actor: Actor, *tries: Ended) -> None:
        """Count tries of an actor that ended; not those that were interrupted or snoozed."""
        count = self._counts[actor.name]
        for ended in tries:
            if isinstance(ended, _COUNTED):
                count.runs += 1
                count.wall_s += max(0.0, ended.at - ended.started_at) if ended.used is None else ended.used.wall_s
            if isinstance(ended, ev.Raised):
                count.failures += 1
                count.last_error = f"{ended.failure.type}: {ended.failure.message}"[:_ERROR_MAX]

    def state(self, intake: Intake, watch: Watch, *, stopping: bool) -> WorkerState:
        """The worker as it is now."""
        still_s = time.monotonic() - watch.beat
        return WorkerState(
            self._nonce,
            self._worker,
            self._host,
            os.getpid(),
            self._version,
            self._size.value,
            intake.concurrency,
            intake.running,
            len(intake.in_hand),
            self._started,
            stopping,
            round(still_s, 3) if still_s > _BLOCKED_S else 0.0,
            tuple(self._work(list(watch.runs.values()), watch.loop.time())),
            len(self._actors),
        )

    def _work(self, runs: list[Run], now: float) -> Iterable[ActorWork]:
        """Of each actor that ran or runs, those that take most first."""
        since: defaultdict[str, list[float]] = defaultdict(list)
        for run in runs:
            if run.actor is not None and run.running_since is not None:
                since[run.actor.name].append(run.running_since)
        works = [self._of(actor, since.get(actor.name, []), now) for actor in self._actors]
        busiest = sorted((one for one in works if one.runs or one.running), key=lambda one: -one.wall_s)
        return busiest[: limits.SAID_ACTORS_MAX]

    def _of(self, actor: Actor, since: list[float], now: float) -> ActorWork:
        count = self._counts.get(actor.name) or _Count()
        return ActorWork(
            actor.name,
            subject.ready(actor.lane, actor.name),
            actor.lane.consumer,
            count.runs,
            count.failures,
            round(count.wall_s, 6),
            count.last_error,
            len(since),
            round(max(0.0, now - min(since)), 3) if since else 0.0,
        )
