"""The projector: writes what the records say into the ledger, batch by batch.

Any number may run. A batch is acknowledged once it is committed; a crash before that brings it again, and then
it changes nothing. While the database is away the records wait in the broker.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from natsume.core.projection import project
from natsume.exceptions import LedgerError
from natsume.model import limits
from natsume.ports import Ledger, Recorded, RecordsFeed

_log = logging.getLogger(__name__)

_PAUSE_FIRST_S: Final = 0.1
_PAUSE_LAST_S: Final = 5.0


class Projector:
    """Follows the records until it is cancelled."""

    def __init__(self, feed: RecordsFeed, ledger: Ledger, broker: Callable[[], str]) -> None:
        """`broker` names the stream that the records come from: another name is another, empty, broker."""
        self._feed = feed
        self._ledger = ledger
        self._broker = broker
        self.prepared = asyncio.Event()
        """Set once the ledger has its schema."""

    async def run(self) -> None:
        """Follow for ever."""
        await insist(self._ledger.prepare)
        self.prepared.set()
        while True:
            await self._commit(await self._feed.batch(limits.LEDGER_BATCH))

    async def _commit(self, batch: list[Recorded]) -> None:
        """Commit and acknowledge; what the database will never take is left out, and holds up nothing else."""
        changes = project([(record.subject, record.body) for record in batch])
        sequence = max(record.sequence for record in batch)
        try:
            # Asked at each try: the broker may be found to be another one meanwhile.
            await insist(lambda: self._ledger.project(changes, self._broker(), sequence))
        except LedgerError as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._commit(batch[:middle])
                await self._commit(batch[middle:])
                return
            _log.error("record %d of the stream RECORDS is not in the ledger: %s", sequence, error)
        for place in changes.unread:
            where = batch[place].sequence
            _log.error("record %d of the stream RECORDS cannot be read; the ledger leaves it out", where)
        self._feed.acknowledge(batch)


async def insist(step: Callable[[], Awaitable[None]]) -> None:
    """Try until it is done, with growing pauses; a line when that begins and one when it is over.

    Raises LedgerError only where the very data are refused.
    """
    pause_s, told = _PAUSE_FIRST_S, ""
    while True:
        try:
            await step()
        except LedgerError as error:
            if error.refused:
                raise
            if told != str(error):
                _log.warning("the ledger waits, and loses nothing: %s", error)
            told = str(error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_LAST_S)
        else:
            if told:
                _log.warning("the ledger goes on")
            return
