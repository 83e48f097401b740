"""What the ledger keeps of a task; times are Unix seconds of the broker's clock."""

from enum import StrEnum
from typing import Final

import msgspec

from natsume.model.task import State

EARLIEST: Final = ("enqueued_at", "submitted_at")
LARGEST: Final = (
    "started_at",
    "due_at",
    "heartbeat_at",
    "attempts",
    "failures",
    "waits",
    "crashes",
    "tracked",
    "discarded",
    "cancel_requested",
    "consumed",
)


class Resource(StrEnum):
    """What tasks take."""

    MEMORY = "memory"
    CPU = "cpu"
    WALL = "wall"


class Hunger(msgspec.Struct, frozen=True):
    """What the tasks of one actor took, together and at most; `None` where no task told."""

    actor: str
    tasks: int
    wall_s: float
    wall_max_s: float
    cpu_s: float | None
    cpu_max_s: float | None
    memory_peak_bytes: int | None


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one record, or several of one task, say of it.

    `step` orders what can be said of a task's state: the larger wins. Rows of one task are merged field by
    field: those in EARLIEST and LARGEST by value, all others as the larger step has them, where it has them.
    """

    id: str
    step: int
    state: State
    actor: str
    enqueued_at: float
    heartbeat_at: float
    lane: str | None = None
    submitted_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    due_at: float | None = None
    attempts: int = 0
    failures: int = 0
    waits: int = 0
    crashes: int = 0
    tracked: bool = False
    discarded: bool = False
    cancel_requested: bool = False
    owner: str | None = None
    tenant: str | None = None
    parent: str | None = None
    root: str | None = None
    join_id: str | None = None
    member: int | None = None
    trace: str | None = None
    labels: str | None = None
    worker: str | None = None
    cpu_s: float | None = None
    memory_peak_bytes: int | None = None
    arguments: str | None = None
    subject: str | None = None
    headers: str | None = None
    body: bytes | None = None
    result: str | None = None
    error: str | None = None
    error_message: str | None = None
    reason: str | None = None
    replay_of: str | None = None
    settled: str | None = None
    settled_at: float | None = None
    settled_by: str | None = None
    settled_why: str | None = None
    replay: str | None = None
    progress_done: float | None = None
    progress_total: float | None = None
    progress_message: str | None = None
    consumed: bool = False


LATEST: Final = tuple(
    name for name in Row.__struct_fields__ if name not in {"id", "step", "enqueued_at", *EARLIEST, *LARGEST}
)


class Remnant(msgspec.Struct, frozen=True):
    """A task as it is to be brought into a broker: what the ledger knows of it, and the traceback of its end."""

    row: Row
    traceback: str = ""


class Epoch(msgspec.Struct, frozen=True):
    """A broker by its number; `restored` once it holds all that an earlier one held."""

    number: int
    restored: bool


class Comment(msgspec.Struct, frozen=True):
    """What somebody said of a task; of these there is at most one per task and key."""

    task_id: str
    key: str
    at: float
    author: str
    text: str


class Attempt(msgspec.Struct, frozen=True):
    """A failed attempt; of these there is at most one per task and number."""

    task_id: str
    attempt: int
    error: str
    message: str
    traceback: str
    worker: str
    started_at: float
    failed_at: float
    next_at: float | None = None


class Filter(msgspec.Struct, frozen=True):
    """Which tasks to list: all fields given must hold, of a field's values any one.

    None is any value, an empty tuple none at all (the field is not set). `*` in a value of `ids`, `actors`, `owners` or
    `workers` stands for any text. Of `labels` all must be there. `after` is exclusive, `before` too; times are Unix
    seconds.
    """

    ids: tuple[str, ...] | None = None
    states: tuple[State, ...] | None = None
    actors: tuple[str, ...] | None = None
    owners: tuple[str, ...] | None = None
    tenants: tuple[str, ...] | None = None
    workers: tuple[str, ...] | None = None
    parents: tuple[str, ...] | None = None
    roots: tuple[str, ...] | None = None
    joins: tuple[str, ...] | None = None
    reasons: tuple[str, ...] | None = None
    labels: dict[str, str] | None = None
    enqueued_after: float | None = None
    enqueued_before: float | None = None
    started_after: float | None = None
    started_before: float | None = None
    finished_after: float | None = None
    finished_before: float | None = None
    heartbeat_after: float | None = None
    heartbeat_before: float | None = None
    cancel_requested: bool | None = None
    consumed: bool | None = None


class Place(msgspec.Struct, frozen=True):
    """Where a page of a list, newest first, ended; the next one begins there."""

    enqueued_at: float
    id: str


class Account(msgspec.Struct, frozen=True):
    """All that the ledger knows of one task."""

    row: Row
    attempts: tuple[Attempt, ...]
    comments: tuple[Comment, ...] = ()
