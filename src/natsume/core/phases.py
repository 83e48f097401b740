"""How far a delivery has come; a phase carries what the later decisions need."""

import msgspec

from natsume.model.lock import Blocked
from natsume.model.record import Done, Failed
from natsume.model.task import Task


class Buffered(msgspec.Struct, frozen=True):
    """In hand, nothing decided."""


class Locking(msgspec.Struct, frozen=True):
    """Its locks are being taken."""

    nonce: str
    suspect: bool


class Checking(msgspec.Struct, frozen=True):
    """The records are being read; `alone` once it is alone in its worker, `over` is a run that goes on no more."""

    nonce: str
    alone: bool = False
    over: str = ""


class Skipping(msgspec.Struct, frozen=True):
    """A tick that is not to run, for this reason, if it has not started."""

    nonce: str
    sentence: str


class Expiring(msgspec.Struct, frozen=True):
    """It has waited for a lock as long as its actor allows, if it has not started."""

    nonce: str
    blocked: Blocked


class Asking(msgspec.Struct, frozen=True):
    """The worker of another run is being asked whether it goes on."""

    nonce: str
    other: str
    alone: bool = False


class Isolating(msgspec.Struct, frozen=True):
    """It waits until it is alone in its worker, or with what is left of its batch: those of the same `half`."""

    nonce: str
    half: str = ""


class Marking(msgspec.Struct, frozen=True):
    """Its start is being recorded."""

    nonce: str
    crashes: int
    alone: bool = False


class Running(msgspec.Struct, frozen=True, gc=False):
    """The actor runs; `mark` is the sequence of the recorded start, 0 without one."""

    nonce: str
    mark: int = 0
    crashes: int = 0
    lost: bool = False


class Reserving(msgspec.Struct, frozen=True):
    """Places under its rate limiters are being asked for; `run` is how it is to run then."""

    run: Running


class SetAside(msgspec.Struct, frozen=True):
    """In hand until its places under rate limiters come; then it is opened anew."""


class Committing(msgspec.Struct, frozen=True, gc=False):
    """The done record is being written; `run` is how it ran, None if it did not."""

    record: Done
    run: Running | None = None


class Failing(msgspec.Struct, frozen=True):
    """The record of the failed attempt is being written."""

    record: Failed
    run: Running


class Arming(msgspec.Struct, frozen=True):
    """Its successor is being published for later."""

    task: Task
    at: float


class Parking(msgspec.Struct, frozen=True):
    """It is being put into the line of a lock."""

    task: Task
    blocked: Blocked
    until: float


class Forwarding(msgspec.Struct, frozen=True):
    """It is being moved to its own lane."""

    task: Task


class Closed(msgspec.Struct, frozen=True):
    """Acknowledged or given back: exactly once, and last."""


Phase = (
    Buffered
    | Locking
    | Checking
    | Skipping
    | Expiring
    | Asking
    | Isolating
    | Marking
    | Reserving
    | SetAside
    | Running
    | Committing
    | Failing
    | Arming
    | Parking
    | Forwarding
    | Closed
)
