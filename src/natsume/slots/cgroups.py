"""Memory limits by control groups (v2), where this worker may make some: the kernel counts all processes of a task.

That is so in a service with `Delegate=yes`, or in a container whose cgroup is writable and has no other process.
"""

import logging
import os
from pathlib import Path
from typing import Final, Self

_log = logging.getLogger(__name__)

_MOUNT: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")


class Cgroup:
    """The group of one slot."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kills = 0
        folder.mkdir()

    def take(self, pid: int) -> None:
        """Have a process and its later descendants in it."""
        self._write("cgroup.procs", str(pid))

    def limit(self, bytes_max: int | None) -> None:
        """Let the kernel kill all that is in it once it has more."""
        self._kills = self._killed()
        self._write("memory.max", "max" if bytes_max is None else str(bytes_max))

    def peak_if_killed(self) -> int | None:
        """The most that it had, if the kernel killed in it since the limit was set."""
        if self._killed() <= self._kills:
            return None
        try:
            return int((self._folder / "memory.peak").read_text())
        except (OSError, ValueError):
            return 0  # older kernels do not keep it

    def remove(self) -> None:
        """Remove it, for nothing is left in it."""
        try:
            self._folder.rmdir()
        except OSError as error:
            _log.info("the control group %s stays: %s", self._folder, error)

    def _killed(self) -> int:
        try:
            lines = (self._folder / "memory.events").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    def _write(self, name: str, text: str) -> None:
        try:
            (self._folder / name).write_text(text)
        except OSError as error:  # the limits of the process, and who watches it, hold in any case
            _log.warning("%s of the control group %s could not be written: %s", name, self._folder, error)


class Cgroups:
    """The groups of one worker's slots, below the group that it found itself in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def found(cls, mount: Path = _MOUNT, own: Path = _OWN) -> Self | None:
        """Those that this process may make; None where it may not."""
        try:
            path = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
            folder = mount / path.strip().lstrip("/")
            if "memory" not in (folder / "cgroup.controllers").read_text().split():
                return None
            # A group with processes of its own can have no groups below it whose memory is limited.
            ours = folder / f"natsume-{os.getpid()}"
            ours.mkdir(exist_ok=True)
            (ours / "cgroup.procs").write_text(str(os.getpid()))
            (folder / "cgroup.subtree_control").write_text("+memory")
        except (OSError, StopIteration):
            return None
        return cls(folder)

    def of(self, number: int) -> Cgroup:
        """A new group, for the slot of this number; raises OSError."""
        return Cgroup(self._folder / f"natsume-{os.getpid()}-{number}")
