"""The actors that run in slots: good ones, and those that would take others with them on one event loop."""

import asyncio
import ctypes
import logging
import os
import signal
import time
from dataclasses import dataclass

from natsume import BaseLock, BaseTask, ExponentialBackoff, LockedObjectType, MutexLock, Size, TaskInfo

from .actors import note

_log = logging.getLogger(__name__)


@dataclass
class Good(BaseTask):
    """Naps, and is tried again should its process be killed."""

    number: int
    seconds: float = 0.0
    size = Size.MEDIUM
    retry_policy = ExponentialBackoff(base_delay_seconds=0, max_retries=50)

    async def execute(self, info: TaskInfo) -> int:
        note("start", info)
        await asyncio.sleep(self.seconds)
        _log.info("napped")
        note("end", info)
        return self.number


@dataclass
class Bad(BaseTask):
    """Holds a lock while it does what its class says."""

    size = Size.MEDIUM
    timeout_s = 20.0

    @property
    def execution_locks(self) -> list[BaseLock]:
        return [MutexLock(LockedObjectType.JOB, type(self).__name__)]


@dataclass
class Allocates(Bad):
    memory_limit_mb = 300

    async def execute(self) -> None:
        held = []
        while True:
            held.append(bytearray(10_000_000))
            await asyncio.sleep(0)


@dataclass
class Spins(Bad):
    cpu_limit_s = 1.0

    async def execute(self) -> None:
        while True:
            pass


@dataclass
class Segfaults(Bad):
    async def execute(self) -> None:
        ctypes.string_at(0)


@dataclass
class Forks(Bad):
    """Leaves children, one of which has left its session."""

    async def execute(self, info: TaskInfo) -> None:
        for way in ("stays", "leaves"):
            if os.fork() == 0:
                if way == "leaves":
                    os.setsid()
                note("left", info)
                time.sleep(600)
                os._exit(0)


@dataclass
class Ignores(Bad):
    """Takes no notice of SIGTERM, nor of being cancelled."""

    timeout_s = 1.0

    async def execute(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                continue


@dataclass
class Family(BaseTask):
    """Runs beside a program of its own, for long."""

    number: int
    size = Size.LARGE

    async def execute(self, info: TaskInfo) -> None:
        note("start", info)
        program = await asyncio.create_subprocess_exec("sleep", "600")
        note("child", info, str(program.pid))
        await program.wait()


ALL = {f"chaos_slots:{cls.__name__}": cls for cls in (Good, Allocates, Spins, Segfaults, Forks, Ignores, Family)}
