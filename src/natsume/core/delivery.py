"""What is known of a delivery before anything is decided about it."""

from math import inf
from typing import Final

import msgspec

from natsume.core.tick import TickRules
from natsume.model.subject import Lane
from natsume.model.task import Fault, Task


class Delivery(msgspec.Struct, gc=False):
    """A task in a worker's hands; `sequence` is its place in TASKS, `delivered` the server's count.

    `token` is how the broker wants it acknowledged; a redelivery of the same message renews it. `grants` are its
    unused places under rate limiters: in hand it waits for the last of them. `doubted` says that another worker
    may have it as well.
    """

    task: Task
    token: bytes
    sequence: int
    delivered: int = 1
    resent: bool = False
    fired: bool = False
    fault: Fault | None = None
    headers: bytes = b""
    subject: str = ""
    stored_at: float = 0.0
    grants: dict[str, float] | None = None
    doubted: bool = False


class Rules(msgspec.Struct, frozen=True):
    """What an actor and the settings say about its deliveries; times in seconds.

    `limited` where the task at hand needs places under rate limiters.
    """

    actor: str
    lane: Lane
    dlq_eligible: bool = False
    drop_on_shutdown: bool = False
    crashes_max: int = 3
    ack_wait_s: float = 30.0
    worker: str = ""
    ticks: TickRules = TickRules()
    limited: bool = False
    wait_limit_s: float | None = None
    on_wait_limit: str = "dead_letter"


EVERYTHING_IS_SUSPECT: Final = 2**63


class Boot(msgspec.Struct, frozen=True):
    """What is known of the broker's present run: `mark` is the last sequence that was stored before it.

    At `settled_at`, in the broker's time, whoever outlived its start has noted what it runs.
    """

    mark: int = EVERYTHING_IS_SUSPECT
    settled_at: float = inf


def is_suspect(delivery: Delivery) -> bool:
    """Whether this copy may already have run, so that the records are asked before it runs."""
    return delivery.delivered > 1 or delivery.fired or delivery.resent or delivery.doubted


def is_doubtful(delivery: Delivery, boot: Boot) -> bool:
    """Whether the broker's start made a second copy possible, with another worker.

    The server forgets acks and counts when it is killed, so this holds for every message that was stored
    before its start, and for the schedules that it fires a second time right after it.
    """
    return delivery.sequence <= boot.mark or (delivery.fired and delivery.stored_at < boot.settled_at)


def may_run_elsewhere(delivery: Delivery) -> bool:
    """Whether another copy of this attempt may be about, so that its start is written behind a fence.

    That of a successor is, if what it follows came again after the schedule had fired, and armed it once more;
    that of a delayed child, if its parent's record did.
    """
    task = delivery.task
    return delivery.doubted or delivery.resent or task.hop > 0 or (delivery.fired and task.parent is not None)


def may_have_started(delivery: Delivery) -> bool:
    """Whether a start without a mark may lie behind this copy, so that it is marked before it runs.

    A successor that waited for a lock or was offered again is delivered once, but what it follows may have
    been redelivered: the lock that it waited for may be that of its own dead worker.
    """
    return delivery.delivered > 1 or delivery.task.waits > 0 or delivery.task.offers > 0
