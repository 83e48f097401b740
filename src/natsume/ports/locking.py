"""Locks, the lines before them, and rate limits."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from natsume.core.gcra import Asked
from natsume.model.lock import Blocked, Holding, Want
from natsume.model.task import Task


class Lease(msgspec.Struct):
    """A held place in a lock: `revision` changes at each renewal, `token` is its first and only grows over holders.

    `until` is when it ends for its holder, on the monotonic clock of this process; `waited` that its task had
    to wait for it, as others may.
    """

    want: Want
    slot: str
    holding: Holding
    token: int
    revision: int
    until: float
    waited: bool = False

    @property
    def key(self) -> str:
        """The entry's key in its bucket."""
        return f"{self.want.key}.{self.slot}"


class Leases(Protocol):
    """Locks that end by themselves, and the lines of those that wait for them."""

    async def acquire(self, want: Want, holding: Holding, *, waited: bool = False) -> Lease | Blocked:
        """Take a place if there is one, or if it is kept for this task, which `waited`, or already this holder's."""
        ...

    async def renew(self, lease: Lease) -> bool:
        """Lengthen a lease in place; False if it is lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Hand the place to who is next, or give it back; does nothing if it is lost."""
        ...

    async def park(self, task: Task, blocked: Blocked, until: float) -> None:
        """Let a task wait in the lock's line, unless its hop does already; it returns by itself then."""
        ...

    async def wake(self, key: str, *, given_up_by: str | None = None, permits: int | None = None) -> None:
        """Give the free places of a lock, and what is kept for a task that gives it up, to the first of its line.

        `permits` are those that there are now, where the waiters may have asked for another number.
        """
        ...


class Lines(Protocol):
    """The lines of all locks."""

    async def keys(self, count_max: int) -> list[str]:
        """The locks that somebody waits for, any so many of them."""
        ...


class Limiters(Protocol):
    """The rate limiters, shared by all that name the same key."""

    async def reserve(self, key: str, asked: Sequence[Asked]) -> list[float | None]:
        """A time for each, in order; None where none is near enough."""
        ...
