"""A lock as the broker keeps it: what a task wants of it, who has a place in it, and who waits for one.

A lock is the set of its entries, each the lease of one holder with a TTL and a revision of its own. Times
are Unix seconds of the broker's clock.
"""

from enum import StrEnum

import msgspec


class Mode(StrEnum):
    """How a lock is held: one of some permits, or a readers-writer lock to read or to write.

    A strike is no lock and is held by nobody; its tasks wait in a line like that of a lock.
    """

    PERMIT = "permit"
    SHARED = "shared"
    EXCLUSIVE = "exclusive"
    STRUCK = "struck"


class Want(msgspec.Struct, frozen=True):
    """What a task asks of a lock; `key` is the lock's in its bucket, `name` the one for people.

    A `manual` lease does not end by itself: after a crash somebody has to release it by hand. Where the number
    of permits `varies`, others may have gone by another one: the places are counted before one is taken.
    """

    key: str
    name: str
    mode: Mode = Mode.PERMIT
    permits: int = 1
    ttl_s: float = 30.0
    manual: bool = False
    varies: bool = False


class Hold(StrEnum):
    """What an entry is: a holder's lease, the place of a waiter that was woken, or a writer's request.

    A request keeps new readers out while its writer waits for those that read already.
    """

    HELD = "held"
    RESERVED = "reserved"
    REQUESTED = "requested"


class Holding(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry's content: `holder` is the run that has it, empty while none does.

    `since` is when it got its place, or, while that is reserved, when its task was first refused.
    """

    holder: str
    task: str
    since: float
    name: str = ""
    worker: str = ""
    owner: str | None = None
    hold: Hold = Hold.HELD


class Entry(msgspec.Struct, frozen=True):
    """A stored entry; `ends_at` is None for one that stays until it is released."""

    slot: str
    revision: int
    holding: Holding
    ends_at: float | None = None


class Waiter(msgspec.Struct, frozen=True):
    """A parked task: the schedule's subject and sequence, what it asks for, and since when it waits."""

    task: str
    subject: str
    sequence: int
    mode: Mode
    permits: int
    since: float = 0.0


class Blocked(msgspec.Struct, frozen=True):
    """Why a task must wait: the lock it asked for and one that is before it.

    `ends_at` is when that one's lease ends unless it is renewed, `first` whether nobody waits yet.
    """

    want: Want
    task: str = ""
    holder: str = ""
    since: float = 0.0
    ends_at: float | None = None
    first: bool = True
    worker: str = ""


class Standing(msgspec.Struct, frozen=True):
    """A lock that anybody holds or waits for; `name` is the one for people."""

    key: str
    name: str
    entries: tuple[Entry, ...] = ()
    waiters: int = 0


class Waiting(msgspec.Struct, frozen=True):
    """A parked task as it tells of itself: for which lock it waits, since when, behind whom, how urgent it is."""

    task: str
    actor: str
    name: str
    mode: str
    behind: str
    since: float
    rank: str
    until: float | None = None
