"""How often this machine's kernel has killed a process because memory ran out, and whether it did so just now."""

from pathlib import Path
from typing import Final

_KEPT: Final = 4


class Shortages:
    """The kernel's count as it was of late."""

    def __init__(self, file: Path = Path("/proc/vmstat")) -> None:
        self._file = file
        self._counts = [self._count()]

    def look(self) -> None:
        """Remember the count as it is."""
        self._counts = [*self._counts[1 - _KEPT :], self._count()]

    def lately(self) -> bool:
        """Whether it has grown since the last few looks."""
        return self._count() > self._counts[0]

    def _count(self) -> int:
        try:
            text = self._file.read_text()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)
