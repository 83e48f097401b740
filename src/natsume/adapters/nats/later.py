"""What the broker did not answer, and nobody waits for: tried again behind the callers, for as long as it matters."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from natsume.ending import end
from natsume.exceptions import BrokerError

_log = logging.getLogger(__name__)

_PAUSE_FIRST_S: Final = 0.1
_PAUSE_LAST_S: Final = 2.0


class Later:
    """Steps that failed for want of an answer, each tried in a task of its own."""

    def __init__(self) -> None:
        self._steps: set[asyncio.Task[None]] = set()

    def again(self, step: Callable[[], Awaitable[None]], what: str, until: float) -> None:
        """Try this step until it is done, or the monotonic clock shows `until`."""
        trying = asyncio.create_task(self._try(step, what, until))
        self._steps.add(trying)
        trying.add_done_callback(self._steps.discard)

    async def close(self) -> None:
        """Try nothing more."""
        await end(*self._steps)

    async def _try(self, step: Callable[[], Awaitable[None]], what: str, until: float) -> None:
        pause_s = _PAUSE_FIRST_S
        while time.monotonic() + pause_s < until:
            await asyncio.sleep(pause_s)
            try:
                await step()
            except BrokerError as error:
                if not error.is_transient:
                    _log.warning("%s: %s", what, error)
                    return
                pause_s = min(2 * pause_s, _PAUSE_LAST_S)
            else:
                return
