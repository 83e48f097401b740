"""What runs in slots: each tells where it ran, or does what would hurt others."""

import asyncio
import ctypes
import os
import signal
import stat
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from natsume import (
    BaseLock,
    BaseTask,
    CallbackSpawner,
    Depends,
    ExponentialBackoff,
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
from natsume.exceptions import CancelHonoured


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
class Kills(BaseTask):
    """Is killed by a signal, or exits, in its first attempt."""

    how: str
    size = Size.MEDIUM
    retry_policy = ExponentialBackoff(base_delay_seconds=0, max_retries=1)

    async def execute(self, info: TaskInfo) -> str:
        if info.attempt == 1:
            if self.how == "segfault":
                ctypes.string_at(0)
            elif self.how == "exit":
                os._exit(7)
            os.kill(os.getpid(), signal.SIGKILL)
        return "second"


@dataclass
class Allocates(BaseTask):
    size = Size.MEDIUM
    memory_limit_mb = 200

    async def execute(self) -> None:
        held = []
        while True:
            held.append(bytearray(10_000_000))


@dataclass
class Spins(BaseTask):
    size = Size.MEDIUM
    cpu_limit_s = 0.5

    async def execute(self) -> None:
        while True:
            pass


@dataclass
class Threaded(BaseTask):
    """Synchronous: schedules children through the loop of its slot."""

    size = Size.MEDIUM

    def execute(self) -> str:
        return on_loop(chain(Noted(7), Noted(8)).schedule)


@dataclass
class Stays(BaseTask):
    """Ignores every wish that it end."""

    size = Size.LARGE
    timeout_s = 0.3

    async def execute(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                time.sleep(0.01)


@dataclass
class Leaves(BaseTask):
    """Forks children, which fork, and returns; the file gets their processes."""

    file: str
    size = Size.MEDIUM

    async def execute(self) -> None:
        for _ in range(3):
            if os.fork() == 0:
                if os.fork():
                    os._exit(0)
                os.setsid()
                with open(self.file, "a") as file:
                    file.write(f"{os.getpid()}\n")
                time.sleep(600)
                os._exit(0)


@dataclass
class Synchronous(BaseTask):
    """Runs in a thread of its slot; longer than it may, if `late`."""

    late: bool = False
    size = Size.MEDIUM
    timeout_s = 0.3

    def execute(self) -> int:
        if self.late:
            time.sleep(600)
        return os.getpid()


@dataclass
class Sleeps(BaseTask):
    """Takes no notice of anything, for long."""

    file: str
    size = Size.LARGE

    async def execute(self) -> None:
        with open(self.file, "w") as file:
            file.write(str(os.getpid()))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)


@dataclass
class Greedy(BaseTask):
    """Has more memory than its size may."""

    size = Size.MEDIUM

    async def execute(self) -> None:
        bytearray(400_000_000)


@dataclass
class Garbles(BaseTask):
    """Writes to every socket that its process has."""

    size = Size.MEDIUM

    async def execute(self) -> None:
        for descriptor in range(3, 64):
            with suppress(OSError):
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    os.write(descriptor, b"\xff" * 64)
        await asyncio.sleep(600)


@dataclass
class Splits(BaseTask):
    """Comes back twice: as itself, and as a fork."""

    size = Size.MEDIUM

    async def execute(self) -> str:
        return "itself" if os.fork() else "a fork"


@dataclass
class Waits(BaseTask):
    """Runs until it is cancelled, in a loop that lets nothing else run."""

    size = Size.LARGE

    async def execute(self, control: TaskControl) -> None:
        while control.should_cancel() is None:
            time.sleep(0.01)
        raise CancelHonoured("seen")


ALL = {
    f"slots:{cls.__name__}": cls
    for cls in (
        Where,
        WhereLarge,
        Noted,
        After,
        Parent,
        Kills,
        Allocates,
        Spins,
        Stays,
        Threaded,
        Leaves,
        Waits,
        Garbles,
        Splits,
        Synchronous,
        Sleeps,
        Greedy,
    )
}
