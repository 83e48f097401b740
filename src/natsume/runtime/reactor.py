"""The reactor: turns done records into joins, children, arrivals and callbacks, each exactly once.

Any number may run. A record is acknowledged when all that follows from it is stored; a crash before
that brings it again, and then everything is sent as resent, under the ids that it had.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from msgspec.structs import replace

from natsume.core import reaction
from natsume.core.join import Arrival, Join, arrive, failure_is_due, is_due
from natsume.exceptions import BrokerError, MissingChunk
from natsume.model.record import Child, Done
from natsume.ports import Chunks, DoneDelivery, DoneFeed, Joins, Outgoing

_log = logging.getLogger(__name__)

_BATCH_MAX: Final = 256
_PAUSE_FIRST_S: Final = 0.1
_PAUSE_LAST_S: Final = 2.0


class Reactor:
    """Carries out what done records order, until it is cancelled."""

    def __init__(
        self, feed: DoneFeed, joins: Joins, chunks: Chunks, outgoing: Outgoing, boot_mark: Callable[[], int]
    ) -> None:
        """`boot_mark` is the last record stored before the broker's present run: up to it, acks may be forgotten."""
        self._feed = feed
        self._joins = joins
        self._chunks = chunks
        self._outgoing = outgoing
        self._boot_mark = boot_mark

    async def run(self) -> None:
        """React for ever."""
        while True:
            batch = await self._feed.batch(_BATCH_MAX)
            await self._insist(batch)

    async def _insist(self, batch: list[DoneDelivery]) -> None:
        """React until it is done: any prefix of it may be repeated."""
        pause_s, again = _PAUSE_FIRST_S, False
        while True:
            try:
                await self._react(batch, again)
                for delivery in batch:
                    self._feed.acknowledge(delivery)
                    if delivery.record is not None and delivery.record.chunks:
                        await self._chunks.purge(delivery.record.id)
            except BrokerError as error:
                _log.warning("%d done records wait for the broker: %s", len(batch), error)
                await asyncio.sleep(pause_s)
                pause_s, again = min(2 * pause_s, _PAUSE_LAST_S), True
            else:
                return

    async def _react(self, batch: list[DoneDelivery], again: bool) -> None:
        arrivals: dict[str, list[Arrival]] = {}
        opened: list[Join] = []
        for delivery in batch:
            done = delivery.record
            if done is None:
                _log.error("record %d of the stream RECORDS cannot be read; it is left as it is", delivery.sequence)
                continue
            resent = again or delivery.delivered > 1 or delivery.sequence <= self._boot_mark()
            if done.groups:
                joins = reaction.joins_of(done)
                await self._joins.open(joins)
                opened.extend(join for join in joins if not join.total)
            if done.children or done.chunks:
                await self._submit_children(delivery, done, resent, again)
            arrival = reaction.arrival_of(done)
            if arrival is not None:
                arrivals.setdefault(arrival.join, []).append(arrival)
        for join in opened:
            arrivals.setdefault(join.id, [])
        if arrivals:
            await self._fold(arrivals)

    async def _submit_children(self, delivery: DoneDelivery, done: Done, resent: bool, again: bool) -> None:
        for number in range(done.chunks):
            try:
                chunk = await self._chunks.read(done.id, done.nonce, number)
            except MissingChunk as error:
                # Purged after a reaction that was not acknowledged, or gone for good: it must not hold up others.
                if not again:
                    raise
                _log.error("%s: those of its children were submitted before, or never will be", error)
                continue
            await self._submit(reaction.tasks_of(done, chunk.children), resent)
            self._feed.extend(delivery)
        await self._submit(reaction.tasks_of(done, done.children), resent)

    async def _submit(self, tasks: Iterable[reaction.Due], resent: bool) -> None:
        ready = []
        for task, due in tasks:
            if due is None:
                ready.append(task)
            else:
                await self._outgoing.arm(task, due)
        if ready:
            await self._outgoing.submit_many(ready, resent=resent)

    async def _fold(self, arrivals: dict[str, list[Arrival]]) -> None:
        """One compare-and-set a join, however many members arrived; again where another was faster."""
        waiting = dict(arrivals)
        while waiting:
            found = await self._joins.read(list(waiting))
            for join_id in list(waiting):
                if join_id not in found:
                    _log.error("join %s is not there: %d arrivals lead nowhere", join_id, len(waiting.pop(join_id)))
                elif await self._fold_one(*found[join_id], waiting[join_id]):
                    del waiting[join_id]

    async def _fold_one(self, join: Join, revision: int, arrivals: list[Arrival]) -> bool:
        """Count, then fire: a complete join that has not fired does, also where nothing new arrived."""
        after = arrive(join, arrivals)
        if after != join:
            counted = await self._joins.update(after, revision)
            if counted is None:
                return False
            revision = counted
        told = await self._fire(after)
        return told == after or await self._joins.update(told, revision) is not None

    async def _fire(self, join: Join) -> Join:
        """Submit the callbacks that are due, then say so: a crash between repeats them under the same ids."""
        if failure_is_due(join):
            assert join.on_failure is not None
            await self._call(join, join.on_failure)
            join = replace(join, failure_told=True)
        if is_due(join):
            await self._call(join, join.callback)
            join = replace(join, fired=True)
        return join

    async def _call(self, join: Join, callback: Child) -> None:
        task, due = reaction.callback_of(join, callback)
        # Another reactor may have sent it already: as resent it is looked up before it runs.
        await (self._outgoing.arm(task, due) if due else self._outgoing.submit(task, resent=True))
