"""The pruner of joins: removes from their bucket those that have fired or are cancelled and that nobody reads any more.

The records of a join's parent go before the join, so that whoever finds a parent's record without its join knows
that it was not opened yet. Any number may run: what one has removed is not there for the next.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Final

from natsume.core.join import Join, is_over
from natsume.model import limits, times
from natsume.model.task import State
from natsume.ports import Ledger, OldJoin, OldJoins, OldRecords
from natsume.runtime.rounds import rounds

_REST_S: Final = 0.02
_ANY: Final = "*"


class JoinPruner:
    """Looks for old joins, again and again, until it is cancelled."""

    def __init__(
        self,
        ledger: Ledger,
        records: OldRecords,
        joins: OldJoins,
        now: Callable[[], float],
        keep_s: Mapping[State, float],
        horizon_s: float = times.PLAIN_TTL_S,
    ) -> None:
        """`keep_s` says how long the ledger keeps a task by how it ended, `horizon_s` how long a join stays at all."""
        self._ledger = ledger
        self._records = records
        self._joins = joins
        self._now = now
        self._keep_s = keep_s
        self._horizon_s = horizon_s
        self._from = 1

    async def run(self) -> None:
        """Prune for ever."""
        await rounds(self.once, times.PRUNE_S, "pruning of joins waits for the next round: %s")

    async def once(self) -> int:
        """From where the last round stopped; a bounded number of pages, then from the beginning again; how many went.

        A join changes last when its last member arrives. So what is not acknowledged yet, and is younger than the
        join, is none of its records; the horizon between them is more than the clocks of servers differ.
        """
        settled, removed = await self._records.settled(), 0
        left = await self._records.page(_ANY, settled + 1, 1)
        before = min([self._now(), *(record.at for record in left)]) - self._horizon_s
        for _ in range(limits.PRUNE_PAGES):
            page = await self._joins.page(self._from, limits.PRUNE_STEP)
            old = [one for one in page if one.at < before]
            if old:
                removed += await self._remove(old, settled)
                self._from = old[-1].revision + 1
                await asyncio.sleep(_REST_S)
            if len(old) < len(page) or not page:
                self._from = 1
                break
        return removed

    async def _remove(self, old: Sequence[OldJoin], settled: int) -> int:
        closed = [(one, one.join) for one in old if one.join is not None and (one.join.fired or one.join.cancelled)]
        known = await self._ledger.done_with([join for _, join in closed]) if closed else {}
        # What the ledger itself keeps no longer, it cannot be asked about.
        forgotten = self._now() - max(self._keep_s.values(), default=inf)
        goes = [(one, join) for one, join in closed if _goes(join, known.get(join.id), one.at < forgotten)]
        if goes:
            await self._records.purge({join.parent for _, join in goes}, settled + 1)
            await self._joins.remove([one.revision for one, _ in goes])
        return len(goes)


def _goes(join: Join, done_with: bool | None, forgotten: bool) -> bool:
    """`done_with` is what the ledger says of it, None if it knows nothing."""
    return forgotten if done_with is None else done_with and is_over(join)
