"""Goes on where those stopped who cancelled tasks: frees flags, passes them on to descendants, ends what waits."""

import asyncio
import logging

from natsume.exceptions import BrokerError
from natsume.model import times
from natsume.ports import Flags
from natsume.service.cancelling import Cancelling

_log = logging.getLogger(__name__)


class Canceller:
    """Looks at all flags now and then, until it is cancelled; any number may."""

    def __init__(self, flags: Flags, cancelling: Cancelling) -> None:
        self._flags = flags
        self._cancelling = cancelling

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                async for page in self._flags.scan():
                    await self._cancelling.settle(page)
            except BrokerError as error:
                _log.warning("the flags of tasks to cancel wait for the broker: %s", error)
            await asyncio.sleep(times.FLAGS_S)
