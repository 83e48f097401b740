"""The pruner: removes from the ledger what is past its retention, and from the broker what only the ledger must know.

Both in small steps with room between them for others. Any number may run: what one has removed is not there
for the next.
"""

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from typing import Final

from natsume.model import limits, times
from natsume.model.task import State
from natsume.ports import Ledger, OldRecord, OldRecords
from natsume.runtime.rounds import rounds

_KINDS: Final = ("started", "failed", "submitted", "done.effects", "settled")
"""In this order: a task's submitted record without its end would look like one whose message was lost.

A dead letter goes with what was decided on it.
"""
_REST_S: Final = 0.02


class Pruner:
    """Looks for what is old, again and again, until it is cancelled."""

    def __init__(
        self,
        ledger: Ledger,
        records: OldRecords,
        now: Callable[[], float],
        keep_s: Mapping[State, float],
        horizon_s: float = times.PLAIN_TTL_S,
    ) -> None:
        """`keep_s` says how long the ledger keeps a task by how it ended, `horizon_s` how long the broker does."""
        self._ledger = ledger
        self._records = records
        self._now = now
        self._keep_s = keep_s
        self._horizon_s = horizon_s
        self._from = dict.fromkeys(_KINDS, 1)

    async def run(self) -> None:
        """Prune for ever."""
        await rounds(self._once, times.PRUNE_S, "pruning waits for the next round: %s")

    async def prune_ledger(self) -> int:
        """Remove the tasks that are past their retention; how many."""
        removed = 0
        for state, keep_s in self._keep_s.items():
            before = self._now() - keep_s
            while count := await self._ledger.prune(state, before, limits.PRUNE_STEP):
                removed += count
                await asyncio.sleep(_REST_S)
        return removed

    async def prune_broker(self) -> int:
        """Remove the records of tasks that ended, beyond the horizon and acknowledged by all; of how many tasks."""
        settled, horizon = await self._records.settled(), self._now() - self._horizon_s
        return sum([await self._prune_kind(kind, settled, horizon) for kind in _KINDS])

    async def _once(self) -> None:
        await self.prune_ledger()
        await self.prune_broker()

    async def _prune_kind(self, kind: str, settled: int, horizon: float) -> int:
        """From where the last round stopped; a bounded number of pages, then from the beginning again."""
        removed = 0
        for _ in range(limits.PRUNE_PAGES):
            page = await self._records.page(kind, self._from[kind], limits.PRUNE_STEP)
            old = [record for record in page if record.sequence <= settled and record.at < horizon]
            if old:
                ids = await self._removable(old)
                await self._records.purge(ids, old[-1].sequence + 1)
                removed += len(ids)
                self._from[kind] = old[-1].sequence + 1
                await asyncio.sleep(_REST_S)
            if len(old) < len(page) or not page:
                self._from[kind] = 1
                break
        return removed

    async def _removable(self, old: list[OldRecord]) -> set[str]:
        # What the ledger itself keeps no longer, it need not be asked about.
        forgotten = self._now() - max(self._keep_s.values(), default=inf)
        ended = await self._ledger.ended({record.task_id for record in old})
        return ended | {record.task_id for record in old if record.at < forgotten}
