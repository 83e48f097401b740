"""The reactor: turns done records into joins, children, arrivals and callbacks, each exactly once.

Any number may run. A record is acknowledged when all that follows from it is stored; a crash before
that brings it again, and then everything is sent as resent, under the ids that it had.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from natsume.core import reaction as do
from natsume.core.reaction import react
from natsume.exceptions import BrokerError, MissingChunk
from natsume.model.record import Chunk
from natsume.ports import Chunks, DoneDelivery, DoneFeed, Inquiries, Joins, Outgoing
from natsume.runtime.claiming import Claiming
from natsume.service.tracking import track

_log = logging.getLogger(__name__)

_BATCH_MAX: Final = 256
_PAUSE_FIRST_S: Final = 0.1
_PAUSE_LAST_S: Final = 2.0

Batch = list[DoneDelivery]
Carry = Callable[[Batch, Any], Awaitable[Any]]


class Reactor:
    """Carries out what done records order, until it is cancelled."""

    def __init__(
        self,
        feed: DoneFeed,
        joins: Joins,
        chunks: Chunks,
        outgoing: Outgoing,
        inquiries: Inquiries,
        claiming: Claiming,
        boot_mark: Callable[[], int],
        now: Callable[[], float],
    ) -> None:
        """`boot_mark` is the last record stored before the broker's present run: up to it, acks may be forgotten."""
        self._feed = feed
        self._joins = joins
        self._chunks = chunks
        self._outgoing = outgoing
        self._inquiries = inquiries
        self._claiming = claiming
        self._boot_mark = boot_mark
        self._now = now
        self._carry: dict[type, Carry] = {
            do.OpenJoins: self._open_joins,
            do.ReadChunk: self._read_chunk,
            do.MissChunk: self._miss_chunk,
            do.Submit: self._submit,
            do.SubmitUnique: self._submit_unique,
            do.Arm: self._arm,
            do.ReadJoins: self._read_joins,
            do.UpdateJoin: self._update_join,
            do.MissJoin: self._miss_join,
            do.PurgeChunks: self._purge_chunks,
            do.Acknowledge: self._acknowledge,
        }

    async def run(self) -> None:
        """React for ever."""
        while True:
            await self._insist(await self._feed.batch(_BATCH_MAX))

    async def _insist(self, batch: Batch) -> None:
        """React until it is done; what cannot be reacted to at all is left behind, and holds up no other."""
        for delivery in batch:
            if delivery.record is None:
                _log.error("record %d of the stream RECORDS cannot be read; it is left as it is", delivery.sequence)
        pause_s, again = _PAUSE_FIRST_S, False
        while True:
            try:
                await self._react(batch, again)
            except BrokerError as error:
                if error.is_too_large:
                    await self._leave(batch)
                    return
                _log.warning("%d done records wait for the broker: %s", len(batch), error)
                await asyncio.sleep(pause_s)
                pause_s, again = min(2 * pause_s, _PAUSE_LAST_S), True
            except Exception:  # noqa: BLE001 - raised here, it would end the reactor for every other record
                await self._leave(batch)
                return
            else:
                return

    async def _leave(self, batch: Batch) -> None:
        """Leave behind what just failed, of a batch only those that fail alone."""
        if len(batch) == 1:
            _log.exception("nothing follows from record %d: it cannot be reacted to", batch[0].sequence)
            self._feed.leave(batch[0])
            return
        for delivery in batch:
            await self._insist([delivery])

    async def _react(self, batch: Batch, again: bool) -> None:
        batch = await self._standing(batch)
        suspect = partial(self._is_suspect, batch)
        reaction = react([delivery.record for delivery in batch], suspect, again=again)
        answer = None
        while True:
            try:
                effect = reaction.send(answer)
            except StopIteration:
                return
            answer = await self._carry[type(effect)](batch, effect)

    async def _standing(self, batch: Batch) -> Batch:
        """Those whose records are not purged: of one that is, all followed long ago, also what was removed since.

        So it was another's, and this process stood still for longer than the horizon.
        """
        doubted = {one.record.id for one in batch if one.record is not None and not self._feed.is_alone(one)}
        if not doubted:
            return batch
        ends, standing = await self._inquiries.ends(sorted(doubted)), []
        for delivery in batch:
            record = delivery.record
            if record is None or record.id not in doubted or record.id in ends:
                standing.append(delivery)
            else:
                self._feed.acknowledge(delivery)
        return standing

    def _is_suspect(self, batch: Batch, place: int) -> bool:
        delivery = batch[place]
        return not self._feed.is_alone(delivery) or delivery.sequence <= self._boot_mark()

    async def _open_joins(self, _: Batch, effect: do.OpenJoins) -> None:
        await self._joins.open(effect.joins)

    async def _read_chunk(self, _: Batch, effect: do.ReadChunk) -> Chunk | None:
        try:
            return await self._chunks.read(effect.id, effect.nonce, effect.number)
        except MissingChunk:
            return None

    async def _miss_chunk(self, _: Batch, effect: do.MissChunk) -> None:
        sentence = f"chunk {effect.number} of the children of {effect.id} is not there"
        if not effect.again:
            raise MissingChunk(sentence)
        _log.error("%s: those of its children were submitted before, or never will be", sentence)

    async def _submit(self, _: Batch, effect: do.Submit) -> None:
        await track(self._outgoing, effect.tasks, self._now())
        await self._outgoing.submit_many(effect.tasks, resent=effect.resent)

    async def _submit_unique(self, _: Batch, effect: do.SubmitUnique) -> None:
        await self._claiming.submit(effect.tasks)

    async def _arm(self, _: Batch, effect: do.Arm) -> None:
        await track(self._outgoing, [effect.task], self._now(), effect.at)
        await self._outgoing.arm(effect.task, effect.at)

    async def _read_joins(self, _: Batch, effect: do.ReadJoins) -> Any:
        return await self._joins.read(effect.ids)

    async def _update_join(self, _: Batch, effect: do.UpdateJoin) -> int | None:
        return await self._joins.update(effect.join, effect.revision)

    async def _miss_join(self, _: Batch, effect: do.MissJoin) -> None:
        _log.warning(
            "join %s is not there, as if it fired long ago: %d arrivals lead nowhere", effect.id, effect.arrivals
        )

    async def _purge_chunks(self, _: Batch, effect: do.PurgeChunks) -> None:
        await self._chunks.purge(effect.id)

    async def _acknowledge(self, batch: Batch, effect: do.Acknowledge) -> None:
        self._feed.acknowledge(batch[effect.place])
