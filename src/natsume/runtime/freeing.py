"""Frees the places of unique tasks: what holds a claim gives it up as soon as its done record is read."""

import asyncio
import logging
from typing import Final

from natsume.exceptions import BrokerError
from natsume.ports import Claims, DoneDelivery, DoneFeed

_log = logging.getLogger(__name__)

_PAUSE_FIRST_S: Final = 0.1
_PAUSE_LAST_S: Final = 2.0


class FreeingFeed:
    """Done records whose claims are freed before anyone reacts to them; a repetition frees nothing else."""

    def __init__(self, feed: DoneFeed, claims: Claims) -> None:
        self._feed = feed
        self._claims = claims

    async def batch(self, count_max: int) -> list[DoneDelivery]:
        """At least one, as soon as there is one and its claim is free."""
        batch = await self._feed.batch(count_max)
        holders = {one.record.claim: one.record.id for one in batch if one.record is not None and one.record.claim}
        pause_s = _PAUSE_FIRST_S
        while holders:
            try:
                await self._claims.free_ended(holders)
            except BrokerError as error:
                _log.warning("%d places of unique tasks wait for the broker: %s", len(holders), error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_LAST_S)
            else:
                break
        return batch

    def acknowledge(self, delivery: DoneDelivery) -> None:
        """Say that all that follows from a record is stored."""
        self._feed.acknowledge(delivery)

    def is_alone(self, delivery: DoneDelivery) -> bool:
        """Whether surely nobody else has been brought this record."""
        return self._feed.is_alone(delivery)

    def leave(self, delivery: DoneDelivery) -> None:
        """Let it be brought again, but not at once."""
        self._feed.leave(delivery)
