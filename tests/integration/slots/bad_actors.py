"""What would hurt others on one event loop: it dies, takes too much, leaves things behind, or does not end."""

import asyncio
import ctypes
import os
import signal
import stat
import time
from contextlib import suppress
from dataclasses import dataclass

from natsume import (
    BaseTask,
    ExponentialBackoff,
    Size,
    TaskControl,
    TaskInfo,
)
from natsume.exceptions import CancelHonoured


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
