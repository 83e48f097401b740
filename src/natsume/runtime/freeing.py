"""Frees what tasks hold in buckets, a place as a unique task or a flag, as soon as their done records are read."""

import asyncio
import logging
from typing import Final

from natsume.exceptions import BrokerError
from natsume.ports import Claims, DoneDelivery, DoneFeed
from natsume.service.cancelling import Cancelling

_log = logging.getLogger(__name__)

_PAUSE_FIRST_S: Final = 0.1
_PAUSE_LAST_S: Final = 2.0


class FreeingFeed:
    """Done records whose claims and flags are freed before anyone reacts to them; a repetition frees nothing else.

    A flag that is for descendants as well goes on to the children before they are submitted.
    """

    def __init__(self, feed: DoneFeed, claims: Claims, cancelling: Cancelling) -> None:
        self._feed = feed
        self._claims = claims
        self._cancelling = cancelling

    async def batch(self, count_max: int) -> list[DoneDelivery]:
        """At least one, as soon as there is one and what it held is free."""
        batch = await self._feed.batch(count_max)
        holders = {one.record.claim: one.record.id for one in batch if one.record is not None and one.record.claim}
        flagged = [one.record for one in batch if one.record is not None and one.record.flagged]
        pause_s = _PAUSE_FIRST_S
        while holders or flagged:
            try:
                if holders:
                    await self._claims.free_ended(holders)
                if flagged:
                    await self._cancelling.ended(flagged)
            except BrokerError as error:
                _log.warning("%d places and %d flags wait to be freed: %s", len(holders), len(flagged), error)
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
