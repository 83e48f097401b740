"""The client that `schedule()` uses here: bound around a task by its worker, or by a service."""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from datetime import datetime
from types import TracebackType
from typing import Protocol

from natsume.exceptions import Unbound


class Scheduler(Protocol):
    """Whatever takes a task and returns the id under which it will run."""

    async def schedule(self, task: object, *, at: datetime | None, labels: Mapping[str, str] | None, now: bool) -> str:
        """Take the task over; return its id."""


_bound: ContextVar[Scheduler] = ContextVar("natsume_scheduler")


class bind:  # noqa: N801 - read as a verb: `with bind(scheduler):`
    """Binds a scheduler inside its `with` block; blocks nest."""

    __slots__ = ("_scheduler", "_token")

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def __enter__(self) -> Token[Scheduler]:
        self._token = _bound.set(self._scheduler)
        return self._token

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _bound.reset(self._token)


def current() -> Scheduler:
    """The scheduler bound here; `Unbound` if there is none."""
    try:
        return _bound.get()
    except LookupError:
        raise Unbound("no client is bound here: call it inside execute(), or use client.submit()") from None
