"""Events on their way to actors."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from natsume.model.event import Envelope


class EventSink(Protocol):
    """Events on their way to whoever takes them."""

    async def publish(self, event: Envelope, *, resent: bool) -> None:
        """Store an event, unless the broker knows its id already."""
        ...


class Subscription(msgspec.Struct, frozen=True):
    """Which events an actor takes, and whether from `now` or from the `beginning` when it is new."""

    actor: str
    patterns: tuple[str, ...]
    events_from: str


class EventDelivery(msgspec.Struct):
    """An event on its way to one actor; what lies not above `suspect_to` may have been delivered before."""

    actor: str
    event: Envelope
    token: bytes
    sequence: int
    delivered: int
    suspect_to: int


class EventFeed(Protocol):
    """The events of several actors, each until it is acknowledged."""

    async def keep(self, wanted: Sequence[Subscription]) -> None:
        """Take from all of these, and keep how far they are for whoever comes later."""
        ...

    async def batch(self, count_max: int) -> list[EventDelivery]:
        """At least one, as soon as there is one."""
        ...

    def is_alone(self, delivery: EventDelivery) -> bool:
        """Whether surely nobody else has been brought this event for its actor."""
        ...

    def acknowledge(self, delivery: EventDelivery) -> None:
        """Say that its task is stored."""
        ...

    def leave(self, delivery: EventDelivery) -> None:
        """Let it be brought again, but not at once."""
        ...
