"""Publishes until the broker has acknowledged, or 30 seconds are over."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from natsume.exceptions import BrokerError, NotAcknowledged
from natsume.model import times

_PAUSE_FIRST_S: Final = 0.1
_PAUSE_LAST_S: Final = 2.0


async def insist(publish: Callable[[bool], Any]) -> None:
    """Publish until it is acknowledged or the deadline is over; every try after the first is resent."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + times.PUBLISH_DEADLINE_S
    pause_s, again = _PAUSE_FIRST_S, False
    while True:
        try:
            await publish(again)
        except BrokerError as error:
            if not error.is_transient:
                raise
            if loop.time() + pause_s > deadline:
                waited = f"the broker has not acknowledged it within {times.PUBLISH_DEADLINE_S:g} s"
                raise NotAcknowledged(f"{waited}; the same id may be submitted again ({error})") from error
            await asyncio.sleep(pause_s)
            pause_s, again = min(2 * pause_s, _PAUSE_LAST_S), True
        else:
            return
