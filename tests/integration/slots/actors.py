"""What runs in slots: each tells where it ran, or does what would hurt others."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from natsume import (
    BaseLock,
    BaseTask,
    CallbackSpawner,
    Depends,
    HeldLocks,
    JoinResults,
    LockedObjectType,
    MutexLock,
    Size,
    TaskControl,
    TaskInfo,
    chain,
    on_loop,
)

from .bad_actors import (
    Allocates,
    Garbles,
    Greedy,
    Kills,
    Leaves,
    Sleeps,
    Spins,
    Splits,
    Stays,
    Synchronous,
    Waits,
)


@dataclass
class Where(BaseTask):
    """Its result is the process that ran it."""

    size = Size.MEDIUM

    async def execute(self) -> int:
        return os.getpid()


@dataclass
class WhereLarge(Where):
    size = Size.LARGE


@dataclass
class Noted(BaseTask):
    """A child, small; its result is what it was given."""

    number: int

    async def execute(self) -> int:
        return self.number


@dataclass
class After(BaseTask):
    """A callback in a slot: its result is what the members returned."""

    size = Size.MEDIUM

    async def execute(self, results: JoinResults) -> list[Any]:
        return [one.result async for one in results]


async def opened() -> AsyncIterator[str]:
    """A dependency that is entered and left."""
    yield f"opened in {os.getpid()}"


@dataclass
class Parent(BaseTask):
    """Uses all that a task can ask for; its result is what it saw."""

    size = Size.MEDIUM

    @property
    def execution_locks(self) -> list[BaseLock]:
        return [MutexLock(LockedObjectType.JOB, "slots")]

    async def execute(
        self,
        info: TaskInfo,
        held: HeldLocks,
        control: TaskControl,
        spawner: CallbackSpawner,
        given: Annotated[str, Depends(opened)],
    ) -> dict[str, Any]:
        await control.progress(1, 2, "half")
        await control.comment("from a slot")
        async with MutexLock(LockedObjectType.JOB, "inner") as inner:
            token = inner.token
        child = await Noted(7).schedule()
        now = await Noted(8).schedule(now=True)
        await spawner.spawn_with_callback([Noted(number) for number in range(20)], After())
        return {
            "id": info.id,
            "attempt": info.attempt,
            "token": held.token(),
            "inner": token,
            "child": child,
            "now": now,
            "given": given == f"opened in {os.getpid()}",
            "stop": control.should_cancel(),
        }


@dataclass
class Threaded(BaseTask):
    """Synchronous: schedules children through the loop of its slot."""

    size = Size.MEDIUM

    def execute(self) -> str:
        return on_loop(chain(Noted(7), Noted(8)).schedule)


BAD = (Kills, Allocates, Spins, Stays, Leaves, Synchronous, Sleeps, Greedy, Garbles, Splits, Waits)
ALL = {f"slots:{cls.__name__}": cls for cls in (*BAD, Where, WhereLarge, Noted, After, Parent, Threaded)}
