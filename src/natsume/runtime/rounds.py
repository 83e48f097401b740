"""A duty that is done again and again: what one round could not do waits for the next."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from natsume.exceptions import BrokerError, LedgerError

_log = logging.getLogger(__name__)


async def rounds(once: Callable[[], Awaitable[object]], every_s: float, waits: str, level: int = logging.INFO) -> None:
    """Do it until cancelled, with `every_s` seconds after each round.

    `waits` is the sentence, with a `%s` for why, that is logged where broker or ledger are away; all else is raised.
    """
    while True:
        try:
            await once()
        except (LedgerError, BrokerError) as error:
            _log.log(level, waits, error)
        await asyncio.sleep(every_s)
