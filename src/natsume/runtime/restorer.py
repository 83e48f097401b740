"""The restorer: recognises a broker that is not the one that the ledger followed last, and has it rebuilt.

Any number may run: one of them claims the work for some seconds at a time, and where it dies another begins anew.
What people set in the bucket `config` it copies to the ledger, for then.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from natsume.exceptions import BrokerError, LedgerError, StartupFailed
from natsume.model import limits, times
from natsume.ports import Epochs, Kept
from natsume.runtime.rebuilding import Counts, Rebuilding

_log = logging.getLogger(__name__)

_PAUSE_FIRST_S: Final = 0.1
_PAUSE_LAST_S: Final = 5.0
_OTHER_S: Final = 0.5


class Restored(msgspec.Struct, frozen=True):
    """What was done for an epoch: who was told, and what is there again."""

    epoch: int
    hooks: list[str]
    counts: Counts


class _Overtaken(Exception):
    """Another restorer has taken over."""


class Restorer:
    """Looks which broker it is, at the start, after each lost connection, and now and then."""

    def __init__(
        self,
        epochs: Epochs,
        kept: Kept,
        rebuilding: Callable[[], Rebuilding],
        meet: Callable[[], Awaitable[str]],
        hooks: Callable[[], Awaitable[list[str]]],
        derived: Callable[[Mapping[str, bytes]], Awaitable[Mapping[str, bytes]]],
        now: Callable[[], float],
        who: str,
    ) -> None:
        """`meet` makes sure that the broker has its streams, and names it; `hooks` are called before all else.

        `derived` gives, for the configuration that was kept, what else the ledger tells of the bucket `config`.
        """
        self._epochs = epochs
        self._kept = kept
        self._rebuilding = rebuilding
        self._meet = meet
        self._hooks = hooks
        self._derived = derived
        self._now = now
        self._who = who[-limits.LEDGER_NAME_MAX :]
        self._changed = asyncio.Event()
        self._settled_for = ""
        self._copied: dict[str, bytes] | None = None
        self.known = asyncio.Event()
        """Set while the configuration in the broker is the one that holds, and not that of an empty one."""

    def doubt(self) -> None:
        """Look again: the broker was away, and may be another."""
        self.known.clear()
        self._settled_for = ""
        self._changed.set()

    def changed(self) -> None:
        """Look again: the configuration was changed."""
        self._changed.set()

    async def run(self) -> None:
        """Look for ever; what goes wrong is told once and tried again."""
        pause_s, told = _PAUSE_FIRST_S, ""
        while True:
            self._changed.clear()
            try:
                await self.once()
                wait_s = times.RECONCILE_S if self.known.is_set() else _OTHER_S
                pause_s, told = _PAUSE_FIRST_S, ""
            except (BrokerError, LedgerError, StartupFailed) as error:
                if told != str(error):
                    _log.warning("the broker cannot be compared with the ledger yet: %s", error)
                wait_s, pause_s, told = pause_s, min(2 * pause_s, _PAUSE_LAST_S), str(error)
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def once(self) -> Restored | None:
        """Rebuild the broker if it is to be, or copy its configuration; None also while another is at it."""
        broker = await self._meet()
        if broker == self._settled_for:
            await self._copy()
            return None
        self.known.clear()
        try:
            epoch = await self._epochs.meet(broker)
        except LedgerError:
            if (await self._kept.read())[0] is not None:  # it was met before
                self.known.set()
            raise
        if not epoch.restored:
            if not await self._epochs.claim(epoch.number, self._who, self._now()):
                return None
            try:
                restored = await self._restore(epoch.number)
            except _Overtaken:
                return None
        await self._kept.raise_epoch(epoch.number - 1)
        await self._kept.finish()
        self._settled_for, self._copied = broker, None
        self.known.set()
        return None if epoch.restored else restored

    async def _restore(self, number: int) -> Restored:
        _log.warning("the broker is empty, or not the one that the ledger followed last: it is rebuilt")
        # Before anybody can take a lock in it, as far as that is up to us: tokens must grow.
        await self._kept.raise_epoch(number - 1)
        names = await self._hooks()
        kept = await self._epochs.configuration()
        await self._kept.restore({**kept, **await self._derived(kept)})
        self.known.set()

        async def still() -> None:
            if not await self._epochs.claim(number, self._who, self._now()):
                raise _Overtaken

        counts = await self._rebuilding().carry_out(number, still)
        await self._epochs.finish(number)
        told = (counts.tasks, counts.joins, counts.ended, counts.dropped)
        _log.warning("the broker is rebuilt: %d tasks run again, %d joins, %d ends stand, %d tasks are lost", *told)
        return Restored(number, names, counts)

    async def _copy(self) -> None:
        """Keep what people set; not that of a broker which was emptied a moment ago."""
        epoch, values = await self._kept.read()
        if epoch is not None and values != self._copied:
            await self._epochs.configure(values)
            self._copied = values
