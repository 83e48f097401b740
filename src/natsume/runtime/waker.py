"""The waker: gives locks whose leases have ended to those that wait, should nobody else have done so.

Who leaves a lock wakes the next, and the first of a line returns by itself. This is for what falls between:
a worker that died after it gave a lock back, a lease that ended while the first of the line was elsewhere.
"""

import asyncio
import logging
import time
from typing import Final

from natsume.exceptions import BrokerError
from natsume.model import limits, times
from natsume.ports import Leases, Lines

_log = logging.getLogger(__name__)

_REST: Final = 20.0
"""It rests so many times as long as a round took: with many lines it must not burden the broker."""


class Waker:
    """Looks at the lines now and then, until it is cancelled; any number may."""

    def __init__(self, lines: Lines, leases: Leases) -> None:
        self._lines = lines
        self._leases = leases

    async def run(self) -> None:
        """Wake for ever."""
        while True:
            began = time.monotonic()
            try:
                await self.look()
            except BrokerError as error:
                _log.warning("those that wait for locks are looked at later: %s", error)
            took_s = time.monotonic() - began
            await asyncio.sleep(max(times.WAKE_S, _REST * took_s))

    async def look(self) -> None:
        """Give what is free of some locks to the first that wait for them; raises BrokerError."""
        for key in await self._lines.keys(limits.LINES_MAX):
            await self._leases.wake(key)
