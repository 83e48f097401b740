"""The actors that are measured: they do nothing, or sleep, and say when they started."""

import asyncio
import time
from dataclasses import dataclass

from natsume import BaseLock, BaseTask, LockedObjectType, MutexLock, Priority, RateLimiter
from natsume.actors.registry import Registry


class Seen:
    """What ran in this process, and when each probe started."""

    count = 0
    started: list[float] = []  # noqa: RUF012


@dataclass
class Noop(BaseTask):
    number: int

    async def execute(self) -> None:
        Seen.count += 1


@dataclass
class Probe(BaseTask):
    sent_at: float

    async def execute(self) -> None:
        Seen.started.append(time.perf_counter() - self.sent_at)


@dataclass
class Urgent(Probe):
    priority = Priority.REALTIME


@dataclass
class Slow(BaseTask):
    number: int
    priority = Priority.BACKGROUND

    async def execute(self) -> None:
        Seen.count += 1
        await asyncio.sleep(0.005)


@dataclass
class Exclusive(BaseTask):
    """10 ms under one mutex; its result is when it started, on the clock that all processes share."""

    number: int

    @property
    def execution_locks(self) -> list[BaseLock]:
        return [MutexLock(LockedObjectType.JOB, "the one")]

    async def execute(self) -> float:
        started = time.monotonic()
        await asyncio.sleep(0.01)
        return started


@dataclass
class Alone(Probe):
    """A probe under a mutex of its own."""

    number: int = 0

    @property
    def execution_locks(self) -> list[BaseLock]:
        return [MutexLock(LockedObjectType.JOB, self.number)]


class Hundred(RateLimiter):
    limit = 100


class Million(RateLimiter):
    """None that can be reached."""

    limit = 1_000_000


@dataclass
class Limited(BaseTask):
    """Under one rate limit; its result is when it started, on the clock that all processes share."""

    number: int

    @property
    def execution_locks(self) -> list[BaseLock]:
        return [Hundred(LockedObjectType.JOB, "the one")]

    async def execute(self) -> float:
        return time.monotonic()


@dataclass
class Free(Probe):
    """A probe under a rate limiter that never lets it wait."""

    @property
    def execution_locks(self) -> list[BaseLock]:
        return [Million(LockedObjectType.JOB, "the one")]


ACTORS = (Noop, Probe, Urgent, Slow, Exclusive, Alone, Limited, Free)
REGISTRY = Registry.of_classes({f"bench:{cls.__name__}": cls for cls in ACTORS})
