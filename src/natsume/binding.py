"""What `schedule()` uses here: what is bound around a task, with who takes locks for it; elsewhere an open client.

A client may be closed in another context than it was opened in, as fixtures and the lifespans of web applications
do. So no context is reset then: what is closed is passed over.
"""

import asyncio
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


class _Opened:
    """A scheduler that is offered, the loop that it lives on, and what its context had open before."""

    __slots__ = ("loop", "outer", "scheduler")

    def __init__(self, scheduler: Scheduler, outer: "_Opened | None") -> None:
        self.scheduler = scheduler
        self.loop = asyncio.get_running_loop()
        self.outer = outer


_offered: list[_Opened] = []
_opened_here: ContextVar[_Opened | None] = ContextVar("natsume_opened_here", default=None)


def offer(scheduler: Scheduler) -> None:
    """Let `schedule()` use it until it is withdrawn, wherever nothing is bound; called inside a task it does nothing.

    The context that opened it goes first with it. All others of this event loop, such as the requests of a web
    application, go with the one that was opened last.
    """
    if _bound.get(None) is None:
        opened = _Opened(scheduler, _open_here())
        _offered.append(opened)
        _opened_here.set(opened)


def withdraw(scheduler: Scheduler) -> None:
    """Offer it no longer, if it was offered."""
    for opened in [one for one in _offered if one.scheduler is scheduler]:
        _offered.remove(opened)


def current() -> Scheduler:
    """The scheduler bound here, else the one that is open; `Unbound` if there is none."""
    bound, _ = _bound.get((None, None))
    scheduler = bound or _open()
    if scheduler is None:
        raise Unbound(
            "no client is bound here: call it inside execute(), or while natsume.connect() is open, or use"
            " client.submit()"
        )
    return scheduler


def _open() -> Scheduler | None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    here = _open_here()
    if here is not None and here.loop is loop:
        return here.scheduler
    return next((one.scheduler for one in reversed(_offered) if one.loop is loop), None)


def _open_here() -> _Opened | None:
    opened = _opened_here.get()
    while opened is not None and opened not in _offered:
        opened = opened.outer
    return opened


def locker(name: str) -> Locker:
    """Who takes locks for the task that runs here; `Unbound` if none runs."""
    _, bound = _bound.get((None, None))
    if bound is None:
        raise Unbound(f"{name} can be taken by `async with` only inside execute(), for a lease belongs to a task")
    return bound
