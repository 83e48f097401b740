"""What is known of a delivery before anything is decided about it."""

import msgspec

from natsume.core.tick import TickRules
from natsume.model.subject import Lane
from natsume.model.task import Fault, Task


class Delivery(msgspec.Struct):
    """A task in a worker's hands; `sequence` is its place in TASKS, `delivered` the server's count.

    `token` is how the broker wants it acknowledged; a redelivery of the same message renews it. `grants` are its
    unused places under rate limiters: in hand it waits for the last of them.
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


def is_suspect(delivery: Delivery, boot_mark: int) -> bool:
    """Whether this copy may already have run, so that the records are asked before it runs.

    The server forgets acks and counts when it is killed, so every message that was stored before its
    start (not above the boot mark) is suspect, as is a redelivery, a fired schedule and a resent one.
    """
    return delivery.delivered > 1 or delivery.fired or delivery.resent or delivery.sequence <= boot_mark


def may_have_started(delivery: Delivery) -> bool:
    """Whether a start without a mark may lie behind this copy, so that it is marked before it runs.

    A successor that waited for a lock or was offered again is delivered once, but what it follows may have
    been redelivered: the lock that it waited for may be that of its own dead worker.
    """
    return delivery.delivered > 1 or delivery.task.waits > 0 or delivery.task.offers > 0
