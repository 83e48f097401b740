"""What Linux can do for a process that must not outlive another one; elsewhere these do nothing."""

import ctypes
import sys
from typing import Final

_SET_PDEATHSIG: Final = 1
_SET_CHILD_SUBREAPER: Final = 36

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(signal: int) -> None:
    """Have this process get a signal when its parent ends."""
    if _libc is not None:
        _libc.prctl(_SET_PDEATHSIG, signal, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parents end."""
    if _libc is not None:
        _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
