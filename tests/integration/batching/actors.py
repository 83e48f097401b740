"""Actors that run together; each notes which numbers every call was given."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from natsume import BaseLock, BaseTask, CallbackSpawner, ExponentialBackoff, LockedObjectType, MutexLock, Priority
from natsume.exceptions import Snooze, UnretryableError
from natsume.given import HeldLocks
from natsume.member import member

CALLS: list[tuple[str, list[int]]] = []


class Gate:
    """Holds those that block; of the test's own loop."""

    open = asyncio.Event()


@dataclass
class Gathers(BaseTask):
    """The first of all that the others are made of: succeeds, unless `what` says otherwise."""

    number: int
    what: str = ""
    batch_max = 500
    batch_wait_s = 0.2

    @classmethod
    async def execute_batch(cls, tasks: Sequence[Self]) -> Mapping[str, BaseException] | None:
        CALLS.append((cls.__name__, [task.number for task in tasks]))
        if any(task.what == "raise" for task in tasks):
            raise RuntimeError("poison")
        if any(task.what == "exit" for task in tasks):
            os._exit(9)
        if any(task.what == "block" for task in tasks):
            await Gate.open.wait()
        if any(task.what == "nonsense" for task in tasks):
            return {"nobody": ValueError("is it")}
        return {member(task).id: ERRORS[task.what] for task in tasks if task.what in ERRORS}


HELD_UP = 4
"""So many tasks under locks wait for the gate, if theirs is the first call."""

ERRORS: Mapping[str, BaseException] = {
    "fail": ValueError("this one"),
    "for good": UnretryableError("this one"),
    "snooze": Snooze(1.0),
}


class Retried(Gathers):
    batch_wait_s = 0.05
    retry_policy = ExponentialBackoff(0.01, 3)

    @classmethod
    async def execute_batch(cls, tasks: Sequence[Self]) -> Mapping[str, BaseException] | None:
        CALLS.append((cls.__name__, [task.number for task in tasks]))
        first = [member(task) for task in tasks if task.what and member(task).info.attempt == 1]
        return {one.id: ValueError("once") for one in first}


class Few(Gathers):
    batch_max = 3


class Brief(Gathers):
    timeout_s = 0.3


class Stoppable(Gathers):
    cancel = "interrupt"


class ByKey(Gathers):
    batch_key = "what"


@dataclass
class BadKey(Gathers):
    @property
    def batch_key(self) -> str:
        if self.what == "bad":
            raise KeyError("no key")
        return self.what


class Urgent(Gathers):
    priority = Priority.REALTIME
    batch_wait_s = 30.0


@dataclass
class Locked(Gathers):
    @property
    def execution_locks(self) -> list[BaseLock]:
        return [MutexLock(LockedObjectType.JOB, key) for key in self.what.split(",")]

    @classmethod
    async def execute_batch(cls, tasks: Sequence[Self], held: HeldLocks) -> None:
        CALLS.append((cls.__name__, [task.number for task in tasks]))
        if len(CALLS) == 1 and len(tasks) == HELD_UP:
            await Gate.open.wait()
        for task in tasks:
            assert all(held.token(lock) for lock in task.execution_locks)


@dataclass
class Child(BaseTask):
    number: int

    async def execute(self) -> int:
        return self.number


class Parents(Gathers):
    @classmethod
    async def execute_batch(cls, tasks: Sequence[Self], spawn: CallbackSpawner) -> Mapping[str, BaseException] | None:
        CALLS.append((cls.__name__, [task.number for task in tasks]))
        failed = {}
        for task in tasks:
            with member(task) as info:
                await Child(task.number).schedule()
                await spawn.spawn_with_callback([Child(100 + task.number)], Child(200 + task.number))
                if task.what == "fail":
                    failed[info.id] = ValueError("its children never were")
        return failed


class Orphans(Gathers):
    @classmethod
    async def execute_batch(cls, tasks: Sequence[Self]) -> None:
        await Child(1).schedule()


@dataclass
class Spawner(BaseTask):
    count: int

    async def execute(self, spawn: CallbackSpawner) -> str:
        return await spawn.spawn_with_callback([Gathers(number) for number in range(self.count)], Child(7))


ALL = (
    Gathers, Retried, Few, Brief, Stoppable, ByKey, BadKey, Urgent, Locked, Child, Parents, Orphans, Spawner,
)  # fmt: skip
