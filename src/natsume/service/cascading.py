"""Passes the wish that a task ends on to what follows from it: children, callbacks, and what follows from those."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from msgspec.structs import replace

from natsume.core import outcome
from natsume.core.events import Flagged
from natsume.core.join import Join
from natsume.core.reaction import callback_of, joins_of
from natsume.exceptions import MissingChunk
from natsume.model import limits
from natsume.model.record import Done, child_id
from natsume.model.told import Flag
from natsume.ports import Chunks, Flags, Inquiries, Joins, Records

_AT_ONCE: Final = 32


class Cascading:
    """What a cascade does beyond the task that it is for; each step may be repeated, by any number."""

    def __init__(
        self,
        flags: Flags,
        inquiries: Inquiries,
        records: Records,
        chunks: Chunks,
        joins: Joins,
        now: Callable[[], float],
        worker: str,
        set_flag: Callable[[Flag], Awaitable[bool]],
    ) -> None:
        """`set_flag` sets one and ends what it is for, if that waits; whether it did not stand before."""
        self._flags = flags
        self._inquiries = inquiries
        self._records = records
        self._chunks = chunks
        self._joins = joins
        self._now = now
        self._worker = worker
        self._set_flag = set_flag

    async def pass_on(self, done: Done, flag: Flag) -> int:
        """Reach all unfinished descendants that records know; how many were not reached before.

        Joins come first: then no member that ends fires a callback on the way.
        """
        count, parents = 0, [done]
        while parents:
            parent = parents.pop()
            sent, ended = await self._stop_joins(parent, flag)
            count += ended
            async for ids in _after(sent, self._children(parent)):
                ends = await self._inquiries.ends(ids)
                parents += [end for end in ends.values() if end.children or end.chunks or end.groups]
                count += await self.flag([(task_id, flag) for task_id in ids if task_id not in ends])
        return count

    async def flag(self, wanted: Sequence[tuple[str, Flag]]) -> int:
        """Flag these tasks as well, each for the sake of a flag of its family; how many were not flagged before."""
        standing = await self._flags.read([task_id for task_id, _ in wanted])
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(task_id: str, flag: Flag) -> bool:
            async with room:
                return await self._set_flag(replace(flag, id=task_id, cascade=True))

        return sum(await asyncio.gather(*(one(*each) for each in wanted if each[0] not in standing)))

    async def _stop_joins(self, parent: Done, flag: Flag) -> tuple[list[str], int]:
        """Cancel the joins of a parent that have not fired, and end their callbacks; how many of these.

        With them the callbacks that were sent, which are tasks like any other. A join that its reactor has not
        opened yet is opened here, so that it is found cancelled there. One that was removed is not: the records of
        its parent went before it.
        """
        sent, waiting = [], {join.id: join for join in joins_of(parent)}
        cancelled: list[Join] = []
        while waiting:
            found = await self._joins.read(list(waiting))
            if len(found) < len(waiting) and parent.id not in await self._inquiries.ends([parent.id]):
                waiting = {join_id: waiting[join_id] for join_id in found}
            for join in list(waiting.values()):
                stands, revision = found.get(join.id, (join, 0))
                if stands.fired:
                    sent.append(stands.callback.id)
                elif stands.cancelled or await self._joins.update(replace(stands, cancelled=True), revision):
                    cancelled.append(stands)
                else:
                    continue  # it has changed meanwhile
                del waiting[join.id]
        ended = 0
        for join in cancelled:
            # A reactor may have sent it, and died before it could say so.
            if await self._inquiries.status(join.callback.id) is not None:
                sent.append(join.callback.id)
            else:
                event = Flagged(self._now(), os.urandom(6).hex(), flag)
                task = callback_of(join, join.callback).task
                ended += await self._records.commit(outcome.flagged_waiting(task, self._worker, event))
        return sent, ended

    async def _children(self, done: Done) -> AsyncIterator[list[str]]:
        """The ids of a task's children, in pages; of purged chunks, those that are members of joins."""
        purged = False
        for number in range(done.chunks):
            try:
                chunk = await self._chunks.read(done.id, done.nonce, number)
            except MissingChunk:
                purged = True
                continue
            for page in _paged(child.id for child in chunk.children):
                yield page
        for page in _paged(child.id for child in done.children):
            yield page
        # The member of a chained join is a callback.
        for group in done.groups if purged else ():
            if not group.chained:
                for page in _paged(child_id(done.id, group.first + member) for member in range(group.total)):
                    yield page


def _paged(ids: Iterable[str]) -> Iterator[list[str]]:
    left = iter(ids)
    while page := list(islice(left, limits.LOOK_UP_MAX)):
        yield page


async def _after(first: list[str], others: AsyncIterator[list[str]]) -> AsyncIterator[list[str]]:
    for page in _paged(first):
        yield page
    async for page in others:
        yield page
