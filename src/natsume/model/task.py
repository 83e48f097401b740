"""A task as it travels: its actor, its arguments and what is known of it."""

from enum import StrEnum

import msgspec

from natsume.model.subject import Lane


class Task(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One unit of work; `body` is the JSON object of its arguments by name, times are Unix seconds.

    `join` and `member` say where its end counts, `after` of which join it is the callback. `claim` is
    the key of the place that it holds as a unique task, `replay_of` the dead letter that it replays.

    `attempt` counts tries, `hop` publishes of this task (never reused, so that schedules do not
    collide), `waits` refused locks, `offers` how often no worker knew the actor. `schedule` is that of a tick,
    `waiting_since` when it first was refused what it waits for, `grants` the times of its places under rate
    limiters, `rights` who beside operators may cancel or replay it.
    """

    id: str
    actor: str
    lane: Lane
    body: bytes
    attempt: int = 1
    hop: int = 0
    waits: int = 0
    offers: int = 0
    submitted_at: float | None = None
    tracked: bool = False
    owner: str | None = None
    tenant: str | None = None
    parent: str | None = None
    root: str | None = None
    join: str | None = None
    member: int | None = None
    after: str | None = None
    claim: str | None = None
    replay_of: str | None = None
    trace: str | None = None
    labels: dict[str, str] | None = None
    schedule: str | None = None
    waiting_since: float | None = None
    grants: dict[str, float] | None = None
    rights: str | None = None


class Reason(StrEnum):
    """Why a task became a dead letter."""

    EXHAUSTED = "exhausted"
    UNRETRYABLE = "unretryable"
    CRASHED = "crashed"
    UNKNOWN_ACTOR = "unknown_actor"
    UNPARSABLE = "unparsable"
    INVALID_ARGUMENTS = "invalid_arguments"
    TIME_LIMIT = "time_limit"
    CPU_LIMIT = "cpu_limit"
    MEMORY_LIMIT = "memory_limit"
    SIGNAL = "signal"
    PROCESSES_LEFT = "processes_left"
    EXPIRED = "expired"
    DUPLICATE = "duplicate"
    CANCELLED = "cancelled"


class Fault(msgspec.Struct, frozen=True):
    """Why a message cannot be run as it is: the reason and one sentence."""

    reason: Reason
    sentence: str


class State(StrEnum):
    """What `status()` says of a task."""

    ALLOCATED = "ALLOCATED"
    WAITING = "WAITING"
    ENQUEUED = "ENQUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    DROPPED = "DROPPED"


ENDED = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.DROPPED})
