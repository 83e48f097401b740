"""Cancels tasks: the flag first; what waits is then ended here, what is ready or runs ends where its worker has it.

Whoever dies on the way leaves the flag, and a conductor goes on from there. The done record is fenced, so that
a task that starts in the same moment has one end, this or its own.
"""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Final

from natsume.core import outcome
from natsume.core.events import Flagged
from natsume.exceptions import FlagsFull, UnknownTask, UsageError
from natsume.model import limits
from natsume.model.codec import clean
from natsume.model.record import Done
from natsume.model.told import Commented, Flag
from natsume.ports import Chunks, Flags, Hop, Inquiries, Joins, Records, Waiting
from natsume.service.cascading import Cascading
from natsume.service.insist import insist

_log = logging.getLogger(__name__)

_PAGE: Final = 64


class Cancelling:
    """What a client, a command and a conductor do to cancel tasks."""

    def __init__(
        self,
        flags: Flags,
        inquiries: Inquiries,
        records: Records,
        waiting: Waiting,
        chunks: Chunks,
        joins: Joins,
        now: Callable[[], float],
        worker: str,
    ) -> None:
        """`worker` is named in the done records that are written here."""
        self._flags = flags
        self._inquiries = inquiries
        self._records = records
        self._waiting = waiting
        self._now = now
        self._worker = worker
        self._cascading = Cascading(flags, inquiries, records, chunks, joins, now, worker, self._set)

    async def cancel(self, token: str, who: str, why: str, *, cascade: bool = False) -> bool:
        """Flag a task, and with `cascade` its descendants; whether this call set a flag, or ended one of them.

        A task that has ended is flagged for their sake alone: a conductor goes on from there.

        Raises UnknownTask where nothing is known of it, UsageError for a name or reason that cannot be kept.
        """
        flag = Flag(
            token, _fit(who, "who", limits.LEDGER_NAME_MAX), self._now(), _fit(why, "why", limits.WHY_MAX), cascade
        )
        done = await self._known(token)
        if done is None:
            return await self._set(flag)
        if not cascade:
            return False
        await insist(lambda _: self._flags.put(flag))
        return await self._cascading.pass_on(done, flag) > 0

    async def comment(self, token: str, who: str, text: str) -> None:
        """Keep what somebody says of a task; raises UnknownTask or UsageError."""
        text = text.strip()
        if not 0 < len(text) <= limits.COMMENT_MAX:
            raise UsageError(f"a comment of {len(text)} characters: write 1 to {limits.COMMENT_MAX}")
        await self._known(token)
        author = _fit(who, "who", limits.LEDGER_NAME_MAX)
        record = Commented(token, os.urandom(6).hex(), author, self._now(), text)
        await insist(lambda _: self._records.tell(record))

    async def ended(self, records: Sequence[Done]) -> dict[str, Done]:
        """Free the flags of what has ended; those for descendants as well go on to these, and are returned by id.

        Such a flag stays until a conductor knows that the ledger knows no other descendant. Where these are too many
        for now it is not returned, and a later round goes on.
        """
        flags = await self._flags.read([done.id for done in records])
        passed: dict[str, Done] = {}
        for done in records:
            flag = flags.get(done.id)
            if flag is not None and flag.cascade:
                del flags[done.id]
                try:
                    await self._cascading.pass_on(done, flag)
                except FlagsFull as error:
                    _log.warning("not all descendants of %s are flagged yet: %s", done.id, error)
                else:
                    passed[done.id] = done
        await self._flags.free(list(flags))
        return passed

    async def settle(self, flags: Sequence[Flag]) -> dict[str, Done]:
        """Go on from these flags, wherever who set them stopped: free, pass on, end what waits; as `ended` returns."""
        passed: dict[str, Done] = {}
        for at in range(0, len(flags), _PAGE):
            page = flags[at : at + _PAGE]
            ends = await self._inquiries.ends([flag.id for flag in page])
            passed |= await self.ended(list(ends.values()))
            await self._end_waiting([flag for flag in page if flag.id not in ends])
        return passed

    async def reach(self, family: Sequence[tuple[str, Flag]]) -> None:
        """Flag those of these tasks that have not ended, each for the sake of a flag of its family."""
        for at in range(0, len(family), _PAGE):
            page = family[at : at + _PAGE]
            ends = await self._inquiries.ends([task_id for task_id, _ in page])
            await self._cascading.flag([each for each in page if each[0] not in ends])

    async def _known(self, token: str) -> Done | None:
        """The end of a task that something is known of; raises UnknownTask."""
        status = await self._inquiries.status(token)
        if status is None:
            raise UnknownTask(
                f"nothing is known of a task {token!r}: it never was, its record has expired, it is not tracked "
                "and has not run for a second, or it is not published from its outbox yet"
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


def _fit(text: str, what: str, longest: int) -> str:
    try:
        text = clean(text, what)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if len(text) > longest:
        raise UsageError(f"{what} has {len(text)} characters; {longest} is the most")
    return text
