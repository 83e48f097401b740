"""What is bound here around a task: the client that `schedule()` uses, and who takes locks for it."""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol

from natsume.exceptions import Unbound
from natsume.model.lock import Want


class Scheduler(Protocol):
    """Whatever takes a task and returns the id under which it will run."""

    async def schedule(
        self,
        task: object,
        *,
        at: datetime | None,
        labels: Mapping[str, str] | None,
        now: bool,
        session: Any = None,
    ) -> str:
        """Take the task over, with the commit of a `session` where one is given; return its id."""

    async def spawn(self, flow: Any) -> str:
        """Take over a flow; the id of its last task, or of the parent of its tasks."""


class Locker(Protocol):
    """Whatever takes locks for the task that runs here, and gives them back."""

    async def hold(self, want: Want, wait_s: float) -> int:
        """Take a lock, waiting for it at most so long; its fencing token. Raises LockNotAcquired."""
        ...

    async def give_back(self, want: Want) -> None:
        """Give back what was taken last of this lock."""
        ...


_bound: ContextVar[tuple[Scheduler, Locker | None]] = ContextVar("natsume_bound")


class bind:  # noqa: N801 - read as a verb: `with bind(scheduler):`
    """Binds a scheduler, and inside a task a locker, in its `with` block; blocks nest."""

    __slots__ = ("_both", "_token")

    def __init__(self, scheduler: Scheduler, locker: Locker | None = None) -> None:
        self._both = (scheduler, locker)

    def __enter__(self) -> None:
        self._token: Token[tuple[Scheduler, Locker | None]] = _bound.set(self._both)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _bound.reset(self._token)


def current() -> Scheduler:
    """The scheduler bound here; `Unbound` if there is none."""
    try:
        return _bound.get()[0]
    except LookupError:
        raise Unbound("no client is bound here: call it inside execute(), or use client.submit()") from None


def locker(name: str) -> Locker:
    """Who takes locks for the task that runs here; `Unbound` if none runs."""
    _, bound = _bound.get((None, None))
    if bound is None:
        raise Unbound(f"{name} can be taken by `async with` only inside execute(), for a lease belongs to a task")
    return bound
