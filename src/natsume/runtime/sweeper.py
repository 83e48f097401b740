"""The sweeper: removes the chunks of runs that were killed, failed or overtaken after they had written some.

Any number may run: what one has removed is not there for the next.
"""

import logging
from collections.abc import Callable

from natsume.core.leftovers import ChunkName, expired, unnamed
from natsume.model import times
from natsume.ports import Inquiries, OldChunks
from natsume.runtime.rounds import rounds

_log = logging.getLogger(__name__)


class Sweeper:
    """Looks for chunks that nobody will read, again and again, until it is cancelled."""

    def __init__(self, chunks: OldChunks, inquiries: Inquiries, now: Callable[[], float]) -> None:
        self._chunks = chunks
        self._inquiries = inquiries
        self._now = now
        self._written_at: dict[ChunkName, float] = {}

    async def run(self) -> None:
        """Sweep for ever."""
        await rounds(self.once, times.CHUNK_SWEEP_S, "sweeping waits for the next round: %s")

    async def once(self) -> int:
        """Remove what is left over; how many chunks."""
        names = await self._chunks.names()
        ends = await self._inquiries.ends(sorted({name.task_id for name in names})) if names else {}
        left = unnamed(names, ends)
        left += await self._expired([name for name in names if name.task_id not in ends])
        if left:
            await self._chunks.remove(left)
            _log.info("removed %d chunks of runs that will not commit", len(left))
        return len(left)

    async def _expired(self, waiting: list[ChunkName]) -> list[ChunkName]:
        """Those that wait for a commit too long; each is read once, for it may be large."""
        known = self._written_at
        self._written_at = {
            name: known[name] if name in known else await self._chunks.written_at(name) for name in waiting
        }
        return [name for name in waiting if expired(self._written_at[name], self._now())]
