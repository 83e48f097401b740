"""What can happen to a delivery; the shell reports it, the table decides. Times are Unix seconds."""

from collections.abc import Sequence

import msgspec

from natsume.model.lock import Blocked
from natsume.model.record import Child, Failed, Failure, Group, History, Used
from natsume.model.task import Fault, Reason
from natsume.model.told import Flag, Progress


class Opened(msgspec.Struct, frozen=True, gc=False):
    """A slot is free for it; `fault` says why it cannot be run, `suspect` that it may have run.

    `not_before` is when a tick with jitter may start, `struck` the strike that it must wait for,
    `flag` the wish that it be cancelled.
    """

    at: float
    nonce: str
    suspect: bool = False
    locks: bool = False
    fault: Fault | None = None
    not_before: float = 0.0
    struck: Blocked | None = None
    flag: Flag | None = None


class Locked(msgspec.Struct, frozen=True):
    """All its locks are held."""


class LockRefused(msgspec.Struct, frozen=True):
    """Another holds a lock that it needs; none is held now."""

    at: float
    blocked: Blocked


class LookedUp(msgspec.Struct, frozen=True):
    """The records were read; `ran` is, for a tick, which one of its schedule started last, and when."""

    at: float
    history: History
    ran: tuple[str, float] | None = None


class Answered(msgspec.Struct, frozen=True):
    """The worker of another run says whether it goes on; None if it is not there to be asked.

    `settled_at` is when it should have been back, if it has outlived the broker's start.
    """

    at: float
    goes_on: bool | None
    settled_at: float = 0.0


class Isolated(msgspec.Struct, frozen=True):
    """Nothing else runs in this worker, and nothing will until this delivery is closed."""


class Marked(msgspec.Struct, frozen=True):
    """Its start is recorded, under this sequence."""

    sequence: int


class MarkRefused(msgspec.Struct, frozen=True):
    """Another copy recorded a start meanwhile."""


class Granted(msgspec.Struct, frozen=True):
    """Its places under all its rate limiters have come."""


class Throttled(msgspec.Struct, frozen=True):
    """Its places come later, the last of them at `until`; `room` tells whether it may wait in hand."""

    at: float
    until: float
    grants: dict[str, float]
    room: bool = True


class GrantVoid(msgspec.Struct, frozen=True):
    """A place had passed before the actor could start."""


class Flagged(msgspec.Struct, frozen=True):
    """It is to be cancelled, and does not run: it was about to start, or its successor stands."""

    at: float
    nonce: str
    flag: Flag


class Honoured(msgspec.Struct, frozen=True):
    """The actor stopped because it was to be cancelled; `comment` is what it said to that."""

    started_at: float
    at: float
    flag: Flag
    comment: str = ""
    progress: Progress | None = None
    used: Used | None = None


class Returned(msgspec.Struct, frozen=True, gc=False):
    """The actor returned; `result` is encoded."""

    started_at: float
    at: float
    result: bytes
    children: Sequence[Child] = ()
    groups: Sequence[Group] = ()
    chunks: int = 0
    progress: Progress | None = None
    flagged: bool = False
    used: Used | None = None


class Raised(msgspec.Struct, frozen=True):
    """The actor failed; `retry_at` is what its policy answered, `reason` why it cannot be tried again."""

    started_at: float
    at: float
    failure: Failure
    retry_at: float | None = None
    reason: Reason = Reason.EXHAUSTED
    progress: Progress | None = None
    flagged: bool = False
    used: Used | None = None


class Snoozed(msgspec.Struct, frozen=True):
    """The actor asked to run again at `until`, which counts as no attempt."""

    until: float
    at: float = 0.0


class Interrupted(msgspec.Struct, frozen=True):
    """The actor was stopped from outside, by a shutdown or because a lease was lost."""

    started_at: float
    at: float


class LeaseGone(msgspec.Struct, frozen=True):
    """A lock of this task is known to be lost."""


class Written(msgspec.Struct, frozen=True):
    """What the last effect was to write stands, by us or, where a copy was before us, by another."""


class Overtaken(msgspec.Struct, frozen=True):
    """Another copy recorded the failure of this attempt first; this is its record."""

    failed: Failed


class Uncertain(msgspec.Struct, frozen=True):
    """The last effect has no answer: it may or may not have happened."""


Event = (
    Opened
    | Locked
    | LockRefused
    | LookedUp
    | Answered
    | Isolated
    | Marked
    | MarkRefused
    | Granted
    | Throttled
    | GrantVoid
    | Flagged
    | Honoured
    | Returned
    | Raised
    | Snoozed
    | Interrupted
    | LeaseGone
    | Written
    | Overtaken
    | Uncertain
)
