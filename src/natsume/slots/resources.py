"""What a task takes of the process that it has to itself, and how the kernel holds it to its limits."""

import math
import os
import resource
import time
from typing import Final

from natsume.exceptions import ResourceLimitExceeded
from natsume.model.record import Used
from natsume.slots.frames import Limits

MB: Final = 1024 * 1024
_SLACK: Final = 32 * MB
"""Memory that is reserved and not used, such as the stacks of a few threads, is no use; the kernel counts it."""
_CPU_SLACK_S: Final = 1.0
_PAGE: Final = resource.getpagesize()


class Resources:
    """From `begin` to `end` of one task: a watch, and the limits of this process, which makes one for itself."""

    def __init__(self) -> None:
        self._limits = Limits(math.inf)
        self._actor = ""
        self._began = self._cpu_began = 0.0
        self._clear_refs = _opened("/proc/self/clear_refs", os.O_WRONLY)
        self._statm = _opened("/proc/self/statm", os.O_RDONLY)

    def begin(self, actor: str, limits: Limits) -> None:
        """Count from here, and let the kernel refuse what is beyond the limits."""
        self._actor, self._limits = actor, limits
        self._began, self._cpu_began = time.monotonic(), cpu_s()
        if self._clear_refs is not None:  # else the peak is that of the process, over all its tasks
            os.pwrite(self._clear_refs, b"5", 0)
        if limits.cpu_limit_s is not None:
            own = resource.getrusage(resource.RUSAGE_SELF)
            _limit(resource.RLIMIT_CPU, math.ceil(own.ru_utime + own.ru_stime + limits.cpu_limit_s + _CPU_SLACK_S))
        if limits.memory_limit_mb is not None:
            resident, data = self._memory()
            left = limits.memory_limit_mb * MB - resident
            _limit(resource.RLIMIT_DATA, int(data + max(left, 0) + _SLACK))

    def end(self) -> None:
        """Take the limits back."""
        if self._limits.cpu_limit_s is not None:
            _limit(resource.RLIMIT_CPU, None)
        if self._limits.memory_limit_mb is not None:
            _limit(resource.RLIMIT_DATA, None)

    @property
    def used(self) -> Used:
        """What was taken until now, by the processes that it started and waited for too."""
        wall_s, used_s = time.monotonic() - self._began, cpu_s() - self._cpu_began
        return Used(round(wall_s, 6), round(used_s, 6), peak_bytes())

    def explain(self, error: BaseException) -> BaseException:
        """What a failure is: memory that the kernel refused is the limit's doing."""
        limit = self._limits.memory_limit_mb
        if not isinstance(error, MemoryError) or limit is None:
            return error
        _limit(resource.RLIMIT_DATA, None)  # to tell of it takes memory as well
        exceeded = exceeded_memory(self._actor, limit, peak_bytes(), "when the kernel refused it more")
        exceeded.__cause__ = error
        return exceeded

    @property
    def resident(self) -> int:
        """The bytes of memory that this process has."""
        return self._memory()[0]

    def _memory(self) -> tuple[int, int]:
        """Resident bytes and private data; the peak for both, where the kernel does not tell."""
        if self._statm is None:
            return peak_bytes(), peak_bytes()
        pages = os.pread(self._statm, 256, 0).split()
        return int(pages[1]) * _PAGE, int(pages[5]) * _PAGE

    def excess(self, used: Used) -> ResourceLimitExceeded | None:
        """The limit that was exceeded although nothing stopped it in time."""
        return excess(self._actor, self._limits, used.cpu_s or 0.0, used.memory_peak_bytes or 0)


def excess(actor: str, limits: Limits, used_s: float, peak: int) -> ResourceLimitExceeded | None:
    """The limit that these seconds of processors, or these bytes, exceed."""
    if limits.memory_limit_mb is not None and peak > limits.memory_limit_mb * MB:
        return exceeded_memory(actor, limits.memory_limit_mb, peak)
    if limits.cpu_limit_s is not None and used_s > limits.cpu_limit_s:
        return ResourceLimitExceeded(actor, "cpu_limit_s", limits.cpu_limit_s, used_s)
    return None


def exceeded_memory(actor: str, limit_mb: float, peak: int, note: str = "") -> ResourceLimitExceeded:
    """That memory is exceeded."""
    return ResourceLimitExceeded(actor, "memory_limit_mb", limit_mb, peak / MB, note)


def cpu_s() -> float:
    """What this process and those that it waited for have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_bytes() -> int:
    """The most memory that this process had since it was last reset."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _opened(path: str, flags: int) -> int | None:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError:
        return None


def _limit(kind: int, soft: int | None) -> None:
    _, hard = resource.getrlimit(kind)
    most = hard if soft is None else soft if hard == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(kind, (most, hard))
