"""A join: a set of members and the set that arrived, as bitmaps, so that counting twice is impossible."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from natsume.model.record import Child, When, child_id


class JoinState(StrEnum):
    """What a join shows: it waits, a member failed for good, its callback was submitted, or cancelled before that."""

    OPEN = "open"
    BLOCKED = "blocked"
    FIRED = "fired"
    CANCELLED = "cancelled"


class Join(msgspec.Struct, frozen=True, omit_defaults=True):
    """A join as its bucket keeps it; bit `i` of a map stands for member `i`, in `arrived` for one that succeeded.

    `parent` and `first` give the members' ids. Owner, tenant, root and trace go on to the callback. The one member of a
    `chained` join is the callback of another.
    """

    id: str
    parent: str
    first: int
    total: int
    callback: Child
    opened_at: float
    arrived: bytes = b""
    failed: bytes = b""
    on_failure: Child | None = None
    when: When = When.ALL_SUCCEEDED
    fired: bool = False
    failure_told: bool = False
    owner: str | None = None
    tenant: str | None = None
    root: str | None = None
    trace: str | None = None
    chained: bool = False
    cancelled: bool = False

    @property
    def arrived_count(self) -> int:
        """Members whose end counts: those that succeeded, and after `ALL_DONE` those that failed as well."""
        return _count(self.arrived) + (self.failed_count if self.when is When.ALL_DONE else 0)

    @property
    def failed_count(self) -> int:
        """Members that ended otherwise and have not succeeded since."""
        return _count(self.failed)

    @property
    def state(self) -> JoinState:
        """What it shows to an operator."""
        if self.fired:
            return JoinState.FIRED
        if self.cancelled:
            return JoinState.CANCELLED
        blocked = self.when is When.ALL_SUCCEEDED and any(self.failed)
        return JoinState.BLOCKED if blocked else JoinState.OPEN

    def failed_ids(self) -> list[str]:
        """The ids of the members that failed for good."""
        return [
            child_id(self.parent, self.first + member)
            for member in range(self.total)
            if _has(bytearray(self.failed), member)
        ]


class Arrival(msgspec.Struct, frozen=True):
    """A member of a join has ended; `result` is what it returned, encoded."""

    join: str
    member: int
    succeeded: bool
    result: msgspec.Raw = msgspec.Raw(b"null")


def arrive(join: Join, arrivals: Iterable[Arrival]) -> Join:
    """The join after these arrivals: in any order, any number of times, the same.

    A member that succeeds after it failed has been replayed: its failure is forgotten.
    """
    arrived, failed = bytearray(join.arrived), bytearray(join.failed)
    for arrival in arrivals:
        if not 0 <= arrival.member < join.total:
            continue
        if arrival.succeeded:
            _set(arrived, arrival.member)
            _clear(failed, arrival.member)
        elif not _has(arrived, arrival.member):
            _set(failed, arrival.member)
    return replace(join, arrived=bytes(arrived), failed=bytes(failed))


def is_due(join: Join) -> bool:
    """Whether the callback is to be submitted: complete, not fired, not cancelled, however often it is asked."""
    return not (join.fired or join.cancelled) and join.arrived_count >= join.total


def is_over(join: Join) -> bool:
    """Whether nothing can come of it any more: it fired or is cancelled, and each member has ended and was told of."""
    ended = join.failed_count + _count(join.arrived)
    return (join.fired or join.cancelled) and ended >= join.total and not failure_is_due(join)


def failure_is_due(join: Join) -> bool:
    """Whether the failure callback is to be submitted: at the first member that failed for good."""
    return join.on_failure is not None and not join.failure_told and any(join.failed)


def _set(bits: bytearray, index: int) -> None:
    if len(bits) <= index >> 3:
        bits.extend(bytes((index >> 3) + 1 - len(bits)))
    bits[index >> 3] |= 1 << (index & 7)


def _clear(bits: bytearray, index: int) -> None:
    if len(bits) > index >> 3:
        bits[index >> 3] &= ~(1 << (index & 7))


def _has(bits: bytearray, index: int) -> bool:
    return len(bits) > index >> 3 and bool(bits[index >> 3] & 1 << (index & 7))


def _count(bits: bytes) -> int:
    return int.from_bytes(bits).bit_count()
