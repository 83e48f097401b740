"""What the table orders; the shell carries effects out in order and stops at the first that fails."""

import msgspec

from natsume.model.lock import Blocked
from natsume.model.record import Done, Failed, Started
from natsume.model.task import Task


class TakeLocks(msgspec.Struct, frozen=True):
    """Acquire all locks, or none; a suspect as late as it is looked up. Reports Locked or LockRefused."""


class LookUp(msgspec.Struct, frozen=True):
    """Read what the records say of this task and attempt, once all who outlived the broker have noted what they run.

    Reports LookedUp.
    """


class Ask(msgspec.Struct, frozen=True):
    """Ask the worker of a run whether it goes on. Reports Answered."""

    nonce: str


class Isolate(msgspec.Struct, frozen=True):
    """Wait until nothing else runs in this worker, and keep it so. Reports Isolated."""


class Mark(msgspec.Struct, frozen=True):
    """Record a start, if the attempt's last one is `expected`. Reports Marked or MarkRefused."""

    record: Started
    expected: int


class Unmark(msgspec.Struct, frozen=True):
    """Take back the mark of a start that was interrupted, and so was no crash. Reports nothing."""

    record: Started
    expected: int


class Reserve(msgspec.Struct, frozen=True):
    """Get it a place under each of its rate limiters. Reports Granted or Throttled."""


class SetAside(msgspec.Struct, frozen=True):
    """Keep the delivery in hand and out of its slot until its places, then open it anew. Reports nothing."""

    grants: dict[str, float]


class Execute(msgspec.Struct, frozen=True):
    """Run the actor. Reports Returned, Raised, Snoozed, Interrupted, Honoured; or GrantVoid, Flagged."""


class Interrupt(msgspec.Struct, frozen=True):
    """Stop the running actor. Reports nothing: what runs reports when it has ended."""


class Commit(msgspec.Struct, frozen=True, gc=False):
    """Write the done record, if there is none. Reports Written."""

    record: Done


class RecordFailure(msgspec.Struct, frozen=True):
    """Write the record of the failed attempt, if there is none. Reports Written or Overtaken."""

    record: Failed


class Arm(msgspec.Struct, frozen=True):
    """Publish `task` to be delivered at `at`, if its hop is not armed already. Reports Written, or Flagged."""

    task: Task
    at: float


class Park(msgspec.Struct, frozen=True):
    """Let `task` wait in the line of a lock; it returns by itself at `until`. Reports Written, or Flagged."""

    task: Task
    blocked: Blocked
    until: float


class Forward(msgspec.Struct, frozen=True):
    """Publish `task` on its own lane. Reports Written."""

    task: Task


class ReleaseLocks(msgspec.Struct, frozen=True):
    """Give the locks back. Reports nothing."""


class Acknowledge(msgspec.Struct, frozen=True):
    """Tell the broker that this delivery is dealt with. Reports nothing; nothing follows."""


class GiveBack(msgspec.Struct, frozen=True):
    """Tell the broker to deliver it again, now. Reports nothing; nothing follows."""


Effect = (
    TakeLocks
    | LookUp
    | Ask
    | Isolate
    | Mark
    | Unmark
    | Reserve
    | SetAside
    | Execute
    | Interrupt
    | Commit
    | RecordFailure
    | Arm
    | Park
    | Forward
    | ReleaseLocks
    | Acknowledge
    | GiveBack
)
