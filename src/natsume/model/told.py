"""What is told of a task beside its course: by itself, by its worker, by people; times are Unix seconds."""

import msgspec


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a task says it is: `done` of `total`, where it knows that."""

    done: float
    total: float | None = None
    message: str = ""


class Flag(msgspec.Struct, frozen=True, omit_defaults=True):
    """The wish that a task ends: whose, since when and why; `cascade` if its descendants are to end as well."""

    id: str
    who: str
    at: float
    why: str = ""
    cascade: bool = False


class Progressed(msgspec.Struct, frozen=True):
    """The latest progress of a running attempt."""

    id: str
    actor: str
    attempt: int
    worker: str
    at: float
    progress: Progress


class Heartbeat(msgspec.Struct, frozen=True):
    """That an attempt still ran at this time, whether it said anything or not."""

    id: str
    actor: str
    attempt: int
    worker: str
    at: float


class Commented(msgspec.Struct, frozen=True):
    """What somebody said of a task, or it itself; the key tells it from others."""

    id: str
    key: str
    author: str
    at: float
    text: str


CANCELLED_COMMENT = "cancelled"
"""The key of the comment with which a cancelled task ended."""


class Released(msgspec.Struct, frozen=True, omit_defaults=True):
    """A lock of a task that a person released by hand: which, from whom, and why."""

    id: str
    key: str
    name: str
    slot: str
    holder: str
    worker: str
    held_since: float
    who: str
    why: str
    at: float
