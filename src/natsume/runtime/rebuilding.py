"""Brings what the ledger knows of a lost broker into the one that is there now.

Every step may be repeated, and carried out by several at once: ends are fenced by the tasks' ids, tasks that run
again are sent as resent, joins and claims are made only where there are none. So one that dies is begun anew.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from natsume.core import restoring
from natsume.core.join import Join, is_due
from natsume.core.reaction import callback_of
from natsume.exceptions import FlagsFull
from natsume.model import limits, times
from natsume.model.claim import Claim
from natsume.model.ledger import Remnant, Row
from natsume.model.record import Done, Submitted
from natsume.model.task import ENDED, State, Task
from natsume.model.told import Flag
from natsume.ports import Claims, Flags, Joins, Outgoing, Records, Remains
from natsume.service.insist import insist
from natsume.service.submission import submitted_of

_log = logging.getLogger(__name__)


class Counts(msgspec.Struct):
    """How many were brought back, and how many are lost."""

    joins: int = 0
    ended: int = 0
    tasks: int = 0
    dropped: int = 0


class Rebuilding:
    """One pass over what the ledger knows of brokers before an epoch."""

    def __init__(
        self,
        remains: Remains,
        outgoing: Outgoing,
        records: Records,
        joins: Joins,
        claims: Claims,
        flags: Flags,
        eligible: Callable[[str], bool],
        now: Callable[[], float],
    ) -> None:
        """`eligible` says of an actor's name whether its tasks may be dead letters."""
        self._remains = remains
        self._outgoing = outgoing
        self._records = records
        self._joins = joins
        self._claims = claims
        self._flags = flags
        self._eligible = eligible
        self._now = now
        self._called: dict[str, Task] = {}
        self.counts = Counts()

    async def carry_out(self, epoch: int, still: Callable[[], Awaitable[None]]) -> Counts:
        """Joins first, so that no end arrives where nothing counts it; `still` is asked before each page."""
        async for joins in self._remains.joins(epoch):
            await still()
            await self._open(joins)
        since = self._now() - times.PLAIN_TTL_S
        async for page in self._remains.ended(epoch, since):
            await still()
            there = await self._there(page)
            await self._commit([restoring.done_of(one, there) for one in page])
            self.counts.ended += len(page)
        async for page in self._remains.unfinished(epoch):
            await still()
            await self._go_on(page)
        return self.counts

    async def _open(self, joins: list[Join]) -> None:
        """Joins as they were opened; the ends of their members count anew, and of those that nobody knows a loss."""
        for join in joins:
            if is_due(join):  # it has no members
                await self._send([(callback_of(join, join.callback).task, join.opened_at, None)])
        await self._joins.open([msgspec.structs.replace(join, fired=join.fired or not join.total) for join in joins])
        ids, known = [join.id for join in joins], {join.id: set[int]() for join in joins}
        results: dict[str, msgspec.Raw] = {}
        async for page in self._remains.members(ids):
            for one in page:
                if one.row.join_id is not None and one.row.member is not None:
                    known[one.row.join_id].add(one.row.member)
                    if one.row.state is State.COMPLETED:
                        results[one.row.join_id] = msgspec.Raw((one.row.result or "null").encode())
            ends = [restoring.done_of(one, ids) for one in page if one.row.state in ENDED]
            await self._commit(ends)
            self.counts.ended += len(ends)
        for join in joins:
            # Who is not known of a chain has yet to come: as the callback of the join before, which counts anew.
            numbers = range(0 if join.chained else join.total)
            missing = [member for member in numbers if member not in known[join.id]]
            for at in range(0, len(missing), limits.RESTORE_PAGE):
                page_of = missing[at : at + limits.RESTORE_PAGE]
                await self._commit([restoring.unknown_member(join, member, self._now()) for member in page_of])
            self.counts.dropped += len(missing)
        self._called |= {task.id: task for join in joins for task in _called(join, results.get(join.id))}
        self.counts.joins += len(joins)

    async def _go_on(self, page: Sequence[Remnant]) -> None:
        now, sends, losses = self._now(), list[tuple[Task, float, float | None]](), []
        for one in page:
            task = self._task_of(one.row)
            if task is not None:
                at = one.row.submitted_at if one.row.submitted_at is not None else one.row.enqueued_at
                sends.append((task, at, restoring.due_of(one.row, now)))
            else:
                losses.append(one.row)
        unwanted = {one.row.id: restoring.flag_of(one.row) for one in page if one.row.cancel_requested}
        await _all(self._flag(unwanted[task.id]) for task, _, _ in sends if task.id in unwanted)
        await self._send(sends)
        there = await self._there(page)
        await self._commit([restoring.lost(row, there, now) for row in losses])
        self.counts.tasks += len(sends)
        self.counts.dropped += len(losses)

    def _task_of(self, row: Row) -> Task | None:
        """The task as it is sent again; a callback is known by its join. None for one that is lost."""
        task = restoring.task_of(row)
        if task is not None and (row.tracked or self._eligible(task.actor)):
            return task
        called = self._called.get(row.id)
        return None if called is None else restoring.again(called, row)

    async def _there(self, page: Iterable[Remnant]) -> Collection[str]:
        ids = sorted({one.row.join_id for one in page if one.row.join_id is not None})
        return set(await self._joins.read(ids)) if ids else ()

    async def _send(self, sends: Sequence[tuple[Task, float, float | None]]) -> None:
        """Tasks before their records: a record without its task would look as if it were dealt with."""
        records = [submitted_of(task, at, due) for task, at, due in sends]
        await _all(self._claim(task, record) for (task, _, _), record in zip(sends, records, strict=True) if task.claim)
        ready = [task for task, _, due in sends if due is None]
        if ready:
            await insist(lambda _: self._outgoing.submit_many(ready, resent=True))
        await _all(self._insist(self._outgoing.arm, task, due) for task, _, due in sends if due is not None)
        await _all(self._insist(self._outgoing.record, record) for record in records)

    async def _claim(self, task: Task, record: Submitted) -> None:
        assert task.claim is not None
        await self._insist(self._claims.create, task.claim, Claim(task.id, record, record.due))

    async def _flag(self, flag: Flag) -> None:
        """Before its task: who gets that must have heard of the wish. Too many wishes hold up no task."""
        try:
            await self._insist(self._flags.put, flag)
        except FlagsFull as error:
            _log.warning("%s was to be cancelled and is not flagged again: %s", flag.id, error)

    async def _commit(self, ends: Sequence[Done]) -> None:
        await _all(self._insist(self._records.commit, end) for end in ends)

    async def _insist(self, publish: Callable[..., Awaitable[Any]], *arguments: object) -> None:
        await insist(lambda _: publish(*arguments))


def _called(join: Join, result: msgspec.Raw | None) -> Iterator[Task]:
    """The callbacks of a join that were submitted, with the result of its member where they take one."""
    for child, submitted in ((join.callback, join.fired), (join.on_failure, join.failure_told)):
        if child is not None and submitted and (child.takes is None or result is not None):
            yield callback_of(join, child, result).task


async def _all(publishes: Iterable[Awaitable[None]]) -> None:
    """Wait for all of one page, which bounds them; raises the first error when all are dealt with."""
    for error in await asyncio.gather(*publishes, return_exceptions=True):
        if error is not None:
            raise error
