"""What the relay of an outbox sends with: tasks of any kind, and what the broker says of their safety."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from natsume.core.reaction import Due
from natsume.ports import Outgoing, Outlet
from natsume.service.insist import insist
from natsume.service.submission import submitted_of


class Parcel(msgspec.Struct, frozen=True):
    """A tracked task of an outbox, when it was submitted, and whether it may have been sent before."""

    due: Due
    at: float
    resent: bool = False


class Sending:
    """Sends what an outbox holds; a part of each client."""

    def __init__(self, outgoing: Outgoing, claim: Callable[[Sequence[Due]], Awaitable[None]], outlet: Outlet) -> None:
        """`claim` takes in unique tasks, or ends them as duplicates."""
        self._outgoing = outgoing
        self._claim = claim
        self._outlet = outlet
        self.broker, self.restored = outlet.broker, outlet.restored
        self.end, self.settled = outlet.end, outlet.settled
        self.nudge = outlet.nudge

    def nudged(self, event: asyncio.Event) -> AbstractContextManager[None]:
        """Set the event whenever somebody has committed."""
        return self._outlet.nudged(event)

    async def send(self, parcels: Sequence[Parcel]) -> None:
        """Store them, their records first; raises the first BrokerError, and then any of them may be stored."""
        unique = [one.due for one in parcels if one.due.place is not None]
        others = [one for one in parcels if one.due.place is None]
        await _all(self._outgoing.record(submitted_of(one.due.task, one.at, one.due.at)) for one in others)
        for resent in (False, True):
            ready = [one.due.task for one in others if one.due.at is None and one.resent is resent]
            if ready:
                await self._outgoing.submit_many(ready, resent=resent)
        await _all(self._outgoing.arm(one.due.task, one.due.at) for one in others if one.due.at is not None)
        if unique:
            await insist(lambda _: self._claim(unique))


async def _all(publishes: Any) -> None:
    for error in await asyncio.gather(*publishes, return_exceptions=True):
        if error is not None:
            raise error
