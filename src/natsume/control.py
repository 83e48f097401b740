"""What a running task says of itself, and hears: its progress, its comments, and whether it is to stop."""

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol

from natsume.binding import current
from natsume.depends import given
from natsume.exceptions import Unbound, UsageError
from natsume.model import limits
from natsume.model.told import Progress
from natsume.threads import needs_loop

__all__ = ["Stop", "TaskControl", "comment", "progress", "should_cancel"]


class Stop(StrEnum):
    """Why a task is to stop: cancelled for good; its worker shuts down, and it will run again; or its time is over."""

    CANCELLED = "cancelled"
    SHUTDOWN = "shutdown"
    TIMEOUT = "timeout"


class Teller(Protocol):
    """What passes on what a task says."""

    @property
    def stop(self) -> Stop | None:
        """Why it is to stop, None while it is not."""
        ...

    async def progress(self, progress: Progress) -> None:
        """Tell how far it is."""
        ...

    async def comment(self, text: str) -> None:
        """Keep a comment."""
        ...


@given
class TaskControl:
    """The line between a running task and those who watch it; injected by bare annotation."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller

    def should_cancel(self) -> Stop | None:
        """Whether to stop, and why; costs nothing, and is known at once.

        What stops raises CancelHonoured: CANCELLED is then its end, after a SHUTDOWN it runs again elsewhere.
        """
        return self._teller.stop

    @needs_loop
    async def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Say how far it is; of what comes faster than twice a second the last is told."""
        for number in (done, total):
            if number is not None and not math.isfinite(number):
                raise UsageError(f"progress({done!r}, {total!r}) are no numbers to count with")
        said = Progress(float(done), None if total is None else float(total), cut(message))
        await self._teller.progress(said)

    @needs_loop
    async def comment(self, text: str) -> None:
        """Add a comment, which is kept with the task; the broker has stored it when this returns."""
        await self._teller.comment(cut(text))


def should_cancel() -> Stop | None:
    """`TaskControl.should_cancel` of the task that runs here."""
    return _current().should_cancel()


@needs_loop
async def progress(done: float, total: float | None = None, message: str = "") -> None:
    """`TaskControl.progress` of the task that runs here."""
    await _current().progress(done, total, message)


@needs_loop
async def comment(text: str) -> None:
    """`TaskControl.comment` of the task that runs here."""
    await _current().comment(text)


def cut(text: str) -> str:
    """A text as a record keeps it."""
    return str(text)[: limits.COMMENT_MAX].encode("utf-8", "replace").decode()


def _current() -> TaskControl:
    bound: Any = current()
    control: Callable[[], TaskControl] | None = getattr(bound, "control", None)
    if control is None:
        raise Unbound("no task runs here: call it inside execute()")
    return control()
