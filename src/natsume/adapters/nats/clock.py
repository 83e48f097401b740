"""The broker's clock, read on this machine: no step of the machine's own clock changes it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from natsume.exceptions import BrokerError

_log = logging.getLogger(__name__)

_EVERY_S: Final = 30.0
_TRIES: Final = 3
_GOOD_S: Final = 0.002
_SOURCE: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Steady, and where there is such a clock also counting while the machine sleeps."""


class BrokerClock:
    """An offset to a steady clock, measured when it is asked to and every half a minute from then on."""

    def __init__(self, ask: Callable[[], Awaitable[float]]) -> None:
        """`ask` gives the broker's time as it answers, in Unix seconds."""
        self._ask = ask
        self._offset_s = time.time() - _steady()
        self._timer: asyncio.TimerHandle | None = None
        self._measuring: asyncio.Task[None] | None = None

    def now(self) -> float:
        """The broker's time, in Unix seconds; before the first measurement, this machine's."""
        return time.clock_gettime(_SOURCE) + self._offset_s

    async def measure(self) -> None:
        """Learn the offset, by the fastest of some answers: it is wrong by half of what that took, at most."""
        best_s = float("inf")
        for _ in range(_TRIES):
            began = _steady()
            at = await self._ask()
            took_s = _steady() - began
            if took_s < best_s:
                best_s, offset_s = took_s, at - began - took_s / 2
            if best_s <= _GOOD_S:
                break
        self._offset_s = offset_s
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_EVERY_S, self._again)

    def close(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._measuring is not None:
            self._measuring.cancel()

    def _again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_EVERY_S, self._again)
        self._measuring = asyncio.get_running_loop().create_task(self._measure_again())

    async def _measure_again(self) -> None:
        try:
            await self.measure()
        except BrokerError as error:
            # Without a broker there is nothing to time; it is measured anew when the connection is back.
            _log.debug("the broker's clock could not be read: %s", error)


def _steady() -> float:
    return time.clock_gettime(_SOURCE)
