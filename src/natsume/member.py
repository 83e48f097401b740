"""`with member(task):` inside `execute_batch()`: what the block does is done for that task alone."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple

from natsume.binding import Locker, Scheduler, bind
from natsume.exceptions import Unbound, UsageError
from natsume.given import TaskInfo

__all__ = ["member"]


class Seat(NamedTuple):
    """What one task of a batch is, and what acts for it."""

    info: TaskInfo
    scheduler: Scheduler
    locker: Locker


SeatOf = Callable[[object], Seat]
_seats: ContextVar[SeatOf] = ContextVar("natsume_seats")


class member:  # noqa: N801 - read as a word: `with member(task):`
    """One task of the batch that runs here: its id, and its own children, locks and progress in a `with` block."""

    __slots__ = ("_bind", "info")

    def __init__(self, task: object) -> None:
        """`task` is one of those that `execute_batch` was given, that very object."""
        try:
            seat = _seats.get()(task)
        except LookupError:
            raise Unbound("member(task) is for execute_batch(), and no batch runs here") from None
        self.info = seat.info
        self._bind = bind(seat.scheduler, seat.locker)

    @property
    def id(self) -> str:
        """The task's id: what `execute_batch` names it by in what it returns."""
        return self.info.id

    def __enter__(self) -> TaskInfo:
        self._bind.__enter__()
        return self.info

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bind.__exit__(kind, error, trace)


class Outside:
    """What is bound in a batch outside of `with member(task):`; nothing that it schedules would have a parent."""

    async def schedule(
        self,
        task: object,
        *,
        at: datetime | None,  # noqa: ARG002 - the protocol's
        labels: Mapping[str, str] | None,  # noqa: ARG002
        now: bool,  # noqa: ARG002
        session: Any = None,  # noqa: ARG002
    ) -> str:
        """Refuse it."""
        raise UsageError(f"{type(task).__name__} has no parent here: schedule it inside `with member(task):`")

    async def spawn(self, flow: object) -> str:  # noqa: ARG002 - the protocol's
        """Refuse it."""
        raise UsageError("a flow has no parent here: schedule it inside `with member(task):`")


class seated:  # noqa: N801 - read as a word: `with seated(seat_of):`
    """Binds the seats of a batch while it runs."""

    __slots__ = ("_bind", "_seat_of", "_token")

    def __init__(self, seat_of: SeatOf) -> None:
        self._seat_of = seat_of
        self._bind = bind(Outside())

    def __enter__(self) -> None:
        self._token = _seats.set(self._seat_of)
        self._bind.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bind.__exit__(kind, error, trace)
        _seats.reset(self._token)
