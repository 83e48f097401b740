"""Actors under limits; each start and end is kept, with the time, in the order in which they come."""

import asyncio
import time
from dataclasses import dataclass
from typing import ClassVar

from natsume import BaseTask, ConcurrencyLimiter, MutexLock, RateLimiter


class Seen:
    """What has run in this process."""

    starts: ClassVar[list[tuple[float, str, int]]] = []
    running = 0
    most = 0
    leaving: asyncio.Semaphore

    @classmethod
    def forget(cls) -> None:
        cls.starts, cls.running, cls.most, cls.leaving = [], 0, 0, asyncio.Semaphore(0)

    @classmethod
    def leave(cls, count: int) -> None:
        """Let so many more tasks of the crowd end."""
        for _ in range(count):
            cls.leaving.release()

    @classmethod
    def start(cls, what: str, items: int = 1) -> None:
        cls.starts.append((time.monotonic(), what, items))


class Steady(RateLimiter):
    limit = 40


class Bursting(RateLimiter):
    limit, window_seconds, burst = 5, 10.0, 5


class Hourly(RateLimiter):
    limit, window_seconds = 1, 3600.0


class Off(RateLimiter):
    limit = None


class OffConcurrency(ConcurrencyLimiter):
    limit = None


@dataclass
class Number(BaseTask):
    number: int

    async def execute(self) -> None:
        Seen.start(type(self).__name__)


@dataclass
class Even(Number):
    @property
    def execution_locks(self):
        return [Steady("TASK", "shared")]


@dataclass
class Other(Even):
    pass


@dataclass
class Burst(Number):
    @property
    def execution_locks(self):
        return [Bursting("TASK", "x")]


@dataclass
class Many(BaseTask):
    items: int

    @property
    def execution_locks(self):
        return [Steady("TASK", "items", n_items=self.items)]

    async def execute(self) -> None:
        Seen.start("Many", self.items)


@dataclass
class Both(Number):
    """One task alone, and one an hour."""

    @property
    def execution_locks(self):
        return [Hourly("TASK", "x"), MutexLock("TASK", "x")]


@dataclass
class Alone(Number):
    @property
    def execution_locks(self):
        return [MutexLock("TASK", "x")]


@dataclass
class Unlimited(Number):
    @property
    def execution_locks(self):
        return [Off("TASK", "x"), OffConcurrency("TASK", "x")]


@dataclass
class Contradicts(Number):
    @property
    def execution_locks(self):
        return [Steady("TASK", "x"), Hourly("TASK", "x")]


class Shift(ConcurrencyLimiter):
    """Changed while the workers run."""

    limit = 4


@dataclass
class Crowd(BaseTask):
    number: int

    @property
    def execution_locks(self):
        return [Shift("TASK", "x")]

    async def execute(self) -> None:
        Seen.start("Crowd")
        Seen.running += 1
        Seen.most = max(Seen.most, Seen.running)
        try:
            await Seen.leaving.acquire()
        finally:
            Seen.running -= 1


ACTORS = {
    f"limits:{cls.__name__}": cls for cls in (Even, Other, Burst, Many, Both, Alone, Unlimited, Contradicts, Crowd)
}
