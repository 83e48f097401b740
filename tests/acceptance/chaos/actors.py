"""The actors that the faults meet. Each start and end is a line of the journal, so that executions can be counted."""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from uuid import UUID

from natsume import (
    BaseTask,
    ExponentialBackoff,
    JoinResults,
    MutexLock,
    NoRetry,
    Priority,
    RateLimiter,
    Snooze,
    member,
)
from natsume.control import Stop, TaskControl
from natsume.exceptions import CancelHonoured, TaskRetryRequestedError, UnretryableError
from natsume.given import TaskInfo
from natsume.retry_policies import RetryPolicyBase

JOURNAL = "CHAOS_JOURNAL"


def note(what: str, info: TaskInfo | None = None, text: str = "") -> None:
    """Append one line; a single write to an O_APPEND file is whole even beside other processes."""
    _append([[time.time(), os.getpid(), what, info.id if info else "", info.attempt if info else 0, text]])


def note_all(what: str, infos: Sequence[TaskInfo]) -> None:
    """Append a line of each task of a batch."""
    _append([[time.time(), os.getpid(), what, info.id, info.attempt, ""] for info in infos])


def _append(lines: Sequence[list[object]]) -> None:
    journal = os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    os.close(journal)


def starts_of(info: TaskInfo) -> int:
    lines = map(json.loads, Path(os.environ[JOURNAL]).read_text().splitlines())
    return sum(line[2] == "start" and line[3] == info.id for line in lines)


@dataclass
class Nap(BaseTask):
    number: int
    seconds: float = 0.0

    async def execute(self, info: TaskInfo) -> int:
        note("start", info)
        await asyncio.sleep(self.seconds)
        note("end", info)
        return self.number


@dataclass
class Heeding(BaseTask):
    """Stops when it is cancelled; asks every few milliseconds."""

    seconds: float

    async def execute(self, info: TaskInfo, control: TaskControl) -> None:
        note("start", info)
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            if control.should_cancel() is Stop.CANCELLED:
                note("end", info, "heeded")
                raise CancelHonoured("heeded")
            await asyncio.sleep(0.005)
        note("end", info)


@dataclass
class Noop(BaseTask):
    number: int = 0
    text: str = ""

    async def execute(self) -> None:
        pass


@dataclass
class UrgentNap(Nap):
    priority = Priority.REALTIME


@dataclass
class Poison(BaseTask):
    async def execute(self, info: TaskInfo) -> None:
        note("start", info)
        os._exit(9)


@dataclass
class Batched(BaseTask):
    """Notes of each task that a call ran it; of all its calls with a `poison`, none returns."""

    number: int
    seconds: float = 0.0
    poison: bool = False
    batch_max = 500
    batch_wait_s = 0.2

    @classmethod
    async def execute_batch(cls, tasks: Sequence["Batched"]) -> None:
        infos = [member(task).info for task in tasks]
        note_all("start", infos)
        if any(task.poison for task in tasks):
            os._exit(9)
        await asyncio.sleep(max(task.seconds for task in tasks))
        note_all("end", infos)


@dataclass
class BatchedRaising(Batched):
    """The same, but its poison is an exception."""

    dlq_eligible = True

    @classmethod
    async def execute_batch(cls, tasks: Sequence["Batched"]) -> None:
        note_all("start", [member(task).info for task in tasks])
        if any(task.poison for task in tasks):
            raise RuntimeError("poison")


@dataclass
class Blocker(BaseTask):
    seconds: float

    async def execute(self, info: TaskInfo) -> None:
        note("start", info)
        time.sleep(self.seconds)
        note("end", info)


@dataclass
class EndlessBlocker(Blocker):
    timeout_s = 1.5


@dataclass
class Sleeper(Nap):
    timeout_s = 0.5


@dataclass
class Guarded(Nap):
    key: str = "x"
    ttl_ms: int = 1000

    @property
    def execution_locks(self) -> list[MutexLock]:
        return [MutexLock("TASK", self.key, ttl_ms=self.ttl_ms)]


@dataclass
class GuardedBlocker(Guarded):
    """Returns without giving way to the event loop, which may have heard of a lost lock meanwhile."""

    async def execute(self, info: TaskInfo) -> None:
        note("start", info)
        time.sleep(self.seconds)
        note("end", info)


class NotedBackoff(RetryPolicyBase):
    """Notes what it is asked; a plain subclass with one method."""

    backoff = ExponentialBackoff(0.4, 3)

    def schedule_retry(self, attempt: int, exception: BaseException) -> datetime | None:
        note("asked", text=f"{attempt} {type(exception).__name__}: {exception}")
        return self.backoff.schedule_retry(attempt, exception)


class OutOfInk(Exception):
    pass


@dataclass
class AlwaysFails(BaseTask):
    retry_policy = NotedBackoff()

    async def execute(self, info: TaskInfo) -> None:
        note("start", info)
        raise OutOfInk(f"at attempt {info.attempt}")


@dataclass
class Hopeless(BaseTask):
    retry_policy = NotedBackoff()
    dlq_eligible = True

    async def execute(self, info: TaskInfo) -> None:
        note("start", info)
        raise UnretryableError("no paper at all")


@dataclass
class AsksForRetry(BaseTask):
    retry_policy = NoRetry()

    async def execute(self, info: TaskInfo) -> None:
        note("start", info)
        raise TaskRetryRequestedError("once more, please")


class Colour(Enum):
    RED = "red"


@dataclass
class Typed(BaseTask):
    when: datetime
    colour: Colour
    key: UUID
    retry_policy = ExponentialBackoff(0.3, 1)

    async def execute(self, info: TaskInfo) -> list[str]:
        note("start", info)
        if info.attempt == 1:
            raise OutOfInk("the first time")
        return [self.when.isoformat(), repr(self.colour), repr(self.key)]


@dataclass
class Snoozer(BaseTask):
    times: int
    nap_s: float = 0.0
    snooze_s: float = 0.3

    async def execute(self, info: TaskInfo) -> int:
        note("start", info)
        await asyncio.sleep(self.nap_s)
        if starts_of(info) <= self.times:
            raise Snooze(timedelta(seconds=self.snooze_s))
        return info.attempt


@dataclass
class Correctable(BaseTask):
    """Fails with a negative number, for good."""

    number: int

    async def execute(self, info: TaskInfo) -> int:
        note("start", info)
        if self.number < 0:
            raise UnretryableError("it is negative")
        return self.number


@dataclass
class Total(BaseTask):
    async def execute(self, info: TaskInfo, results: JoinResults) -> int:
        note("start", info)
        return sum([one.result async for one in results])


class Sixty(RateLimiter):
    limit = 60


@dataclass
class Rated(BaseTask):
    number: int

    @property
    def execution_locks(self) -> list[Sixty]:
        return [Sixty("TASK", "all")]

    async def execute(self, info: TaskInfo) -> None:
        note("start", info)


ALL = {
    f"chaos:{actor.__name__}": actor
    for actor in (
        Nap,
        Heeding,
        Noop,
        UrgentNap,
        Poison,
        Batched,
        BatchedRaising,
        Blocker,
        EndlessBlocker,
        Sleeper,
        Guarded,
        GuardedBlocker,
        AlwaysFails,
        Hopeless,
        AsksForRetry,
        Typed,
        Snoozer,
        Rated,
        Correctable,
        Total,
    )
}
