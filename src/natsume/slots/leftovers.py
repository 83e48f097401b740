"""The processes that a task left in its slot: children, and what these left to whoever adopts orphans here."""

import os
import sys
import time
from typing import Any, Final

_PATIENCE_S: Final = 0.5
_LOOK_S: Final = 0.01


def left_behind() -> int:
    """How many processes run below this one; those that are about to end are waited for, a little.

    The trackers of `multiprocessing` are none: they end with this process.
    """
    ends = time.monotonic() + _PATIENCE_S
    while (count := _alive()) and time.monotonic() < ends:
        time.sleep(_LOOK_S)
    return count


def _alive() -> int:
    """The children that run; those that have ended are taken away."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return 0
    import psutil  # noqa: PLC0415 - hardly a task leaves any

    own = set(_own())
    return sum(child.pid not in own and child.status() != psutil.STATUS_ZOMBIE for child in psutil.Process().children())


def _own() -> list[int]:
    """The helpers that `multiprocessing` keeps for this process."""
    tracker: Any = sys.modules.get("multiprocessing.resource_tracker")
    server: Any = sys.modules.get("multiprocessing.forkserver")
    found = [
        getattr(getattr(tracker, "_resource_tracker", None), "_pid", None),
        getattr(getattr(server, "_forkserver", None), "_forkserver_pid", None),
    ]
    return [pid for pid in found if pid is not None]
