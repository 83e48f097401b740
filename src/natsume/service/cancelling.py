"""Cancels tasks: the flag first; what waits is then ended here, what is ready or runs ends where its worker has it.

Whoever dies on the way leaves the flag, and a conductor goes on from there. The done record is fenced, so that
a task that starts in the same moment has one end, this or its own.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from msgspec.structs import replace

from natsume.core import outcome
from natsume.core.events import Flagged
from natsume.exceptions import FlagsFull, MissingChunk, UnknownTask, UsageError
from natsume.model import limits
from natsume.model.codec import clean
from natsume.model.record import Done
from natsume.model.told import Commented, Flag
from natsume.ports import Chunks, Flags, Hop, Inquiries, Records, Waiting
from natsume.service.insist import insist

_log = logging.getLogger(__name__)

_PAGE: Final = 64
_AT_ONCE: Final = 32


class Cancelling:
    """What a client, a command and a conductor do to cancel tasks."""

    def __init__(
        self,
        flags: Flags,
        inquiries: Inquiries,
        records: Records,
        waiting: Waiting,
        chunks: Chunks,
        now: Callable[[], float],
        worker: str,
    ) -> None:
        """`worker` is named in the done records that are written here."""
        self._flags = flags
        self._inquiries = inquiries
        self._records = records
        self._waiting = waiting
        self._chunks = chunks
        self._now = now
        self._worker = worker

    async def cancel(self, token: str, who: str, why: str, *, cascade: bool = False) -> bool:
        """Flag a task, and with `cascade` its descendants; whether this call set a flag.

        Raises UnknownTask where nothing is known of it, UsageError for a name or reason that cannot be kept.
        """
        flag = Flag(
            token, _fit(who, "who", limits.LEDGER_NAME_MAX), self._now(), _fit(why, "why", limits.WHY_MAX), cascade
        )
        done = await self._known(token)
        if done is None:
            return await self._set(flag)
        return cascade and await self._cascade(done, flag) > 0

    async def comment(self, token: str, who: str, text: str) -> None:
        """Keep what somebody says of a task; raises UnknownTask or UsageError."""
        text = text.strip()
        if not 0 < len(text) <= limits.COMMENT_MAX:
            raise UsageError(f"a comment of {len(text)} characters: write 1 to {limits.COMMENT_MAX}")
        await self._known(token)
        author = _fit(who, "who", limits.LEDGER_NAME_MAX)
        record = Commented(token, os.urandom(6).hex(), author, self._now(), text)
        await insist(lambda _: self._records.tell(record))

    async def ended(self, records: Sequence[Done]) -> None:
        """Free the flags of what has ended; first those go on to the descendants that are to end as well.

        Where these are too many for now the flag stays, and a later round goes on.
        """
        flags = await self._flags.read([done.id for done in records])
        for done in records:
            flag = flags.get(done.id)
            if flag is not None and flag.cascade:
                try:
                    await self._cascade(done, flag)
                except FlagsFull as error:
                    _log.warning("not all descendants of %s are flagged yet: %s", done.id, error)
                    del flags[done.id]
        await self._flags.free(list(flags))

    async def settle(self, flags: Sequence[Flag]) -> None:
        """Go on from these flags, wherever who set them stopped: free, pass on, end what waits."""
        for at in range(0, len(flags), _PAGE):
            page = flags[at : at + _PAGE]
            ends = await self._inquiries.ends([flag.id for flag in page])
            await self.ended(list(ends.values()))
            await self._end_waiting([flag for flag in page if flag.id not in ends])

    async def _known(self, token: str) -> Done | None:
        """The end of a task that something is known of; raises UnknownTask."""
        status = await self._inquiries.status(token)
        if status is None:
            raise UnknownTask(
                f"nothing is known of a task {token!r}: it never was, its record has expired, or it is not tracked "
                "and has not run for a second"
            )
        return status.done

    async def _set(self, flag: Flag) -> bool:
        """Set a flag and end what it is for, if that waits; whether the flag is this one."""
        mine = False

        async def put(_again: bool) -> None:
            nonlocal mine
            mine = await self._flags.put(flag)

        await insist(put)
        if mine:
            await insist(lambda _: self._records.tell(flag))
        await insist(lambda _: self._end_waiting([flag]))
        return mine

    async def _end_waiting(self, flags: Sequence[Flag]) -> None:
        """Commit the ends of those that lie as schedules, and only then remove the schedules."""
        found = await self._waiting.hops([flag.id for flag in flags])
        for flag in flags:
            hops: list[Hop] = found.get(flag.id, [])
            if hops:
                event = Flagged(self._now(), os.urandom(6).hex(), flag)
                await self._records.commit(outcome.flagged_waiting(hops[0].task, self._worker, event))
                await self._waiting.remove(hops)

    async def _cascade(self, done: Done, flag: Flag) -> int:
        """Flag all unfinished descendants that records know; how many were not flagged before."""
        count, parents, room = 0, [done], asyncio.Semaphore(_AT_ONCE)

        async def one(task_id: str) -> bool:
            async with room:
                return await self._set(replace(flag, id=task_id, cascade=True))

        while parents:
            async for ids in self._children(parents.pop()):
                ends = await self._inquiries.ends(ids)
                parents += [end for end in ends.values() if end.children or end.chunks]
                count += sum(await asyncio.gather(*(one(task_id) for task_id in ids if task_id not in ends)))
        return count

    async def _children(self, done: Done) -> AsyncIterator[list[str]]:
        """The ids of a task's children, in pages; of chunks that are purged, for all were submitted, none."""
        for number in range(done.chunks):
            try:
                chunk = await self._chunks.read(done.id, done.nonce, number)
            except MissingChunk:
                continue
            for at in range(0, len(chunk.children), limits.LOOK_UP_MAX):
                yield [child.id for child in chunk.children[at : at + limits.LOOK_UP_MAX]]
        for at in range(0, len(done.children), limits.LOOK_UP_MAX):
            yield [child.id for child in done.children[at : at + limits.LOOK_UP_MAX]]


def _fit(text: str, what: str, longest: int) -> str:
    try:
        text = clean(text, what)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if len(text) > longest:
        raise UsageError(f"{what} has {len(text)} characters; {longest} is the most")
    return text
