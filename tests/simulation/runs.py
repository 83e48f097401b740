"""One run of a delivery: what is ordered, on its way and answered, and how the trace tells it."""

from collections import deque
from collections.abc import Coroutine
from typing import Any

from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import phases as at
from natsume.core.delivery import Delivery, Rules
from natsume.model.told import Flag
from natsume.ports import Lease

from .laws import Witness
from .scenario import Actor


class Killed(Exception):
    """The actor took its worker along."""


class Run:
    """A delivery in a slot: what is ordered, what is on its way, what is answered."""

    def __init__(self, delivery: Delivery, nonce: str, rules: Rules, actor: Actor | None, seen: Witness) -> None:
        self.delivery = delivery
        self.nonce = nonce
        self.rules = rules
        self.actor = actor
        self.seen = seen
        self.phase: at.Phase = at.Buffered()
        self.ordered: deque[do.Effect] = deque()
        self.sent: do.Effect | None = None
        self.answer: ev.Event | None = None
        self.leases: list[Lease] = []
        self.work: Coroutine[Any, Any, ev.Event | None] | None = None
        self.lost_untold = False
        self.lost = False
        self.flag: Flag | None = None
        self.interrupted = False
        self.noted = False
        self.started_at = 0.0
        self.grants = delivery.grants or {}
        delivery.grants = None

    def stop(self) -> None:
        """Let what takes several steps stop where it is."""
        if self.work is not None:
            self.work.close()
            self.work = None

    @property
    def awaits_answer(self) -> bool:
        """Whether something of it is on its way to the broker."""
        return self.sent is not None and not isinstance(self.sent, do.Execute | do.Isolate | do.SetAside)

    @property
    def ends_at(self) -> float:
        """When its actor ends by itself."""
        return self.started_at + (self.actor.takes_s if self.actor is not None else 0.0)

    @property
    def looks(self) -> bool:
        """Whether it waits for those that outlived the broker to note what they run."""
        suspect = isinstance(self.phase, at.Locking) and self.phase.suspect
        return isinstance(self.sent, do.LookUp) or (suspect and isinstance(self.sent, do.TakeLocks))

    @property
    def has_started(self) -> bool:
        """Whether the actor was started and what came of it is not recorded yet."""
        return isinstance(self.phase, at.Running | at.Failing) or (
            isinstance(self.phase, at.Committing) and self.phase.run is not None
        )


def brief(event: ev.Event | None) -> str:
    """An event as the trace tells it."""
    match event:
        case None:
            return "no answer is needed"
        case ev.LookedUp(history=history) if history.done is not None:
            return f"done by {history.done.nonce}"
        case ev.LookedUp(history=history) if history.failed is not None:
            return f"attempt {history.failed.attempt} failed, the next is hop {history.failed.next_hop}"
        case ev.LookedUp(history=history) if history.started is not None:
            return f"started by {history.started.nonce or 'nobody'}, {history.started.crashes} crashes"
        case ev.LookedUp():
            return "nothing is known"
        case ev.Raised(retry_at=retry_at):
            return "Raised, for good" if retry_at is None else f"Raised, again at {retry_at:.1f}"
        case ev.Answered(goes_on=goes_on):
            return {True: "it goes on", False: "it does not go on", None: "nobody answers"}[goes_on]
        case ev.Overtaken():
            return "Overtaken"
        case _:
            return type(event).__name__
