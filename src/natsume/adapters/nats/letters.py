"""Dead letters in RECORDS, in the order of their deaths, and what was decided on them (port Letters)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from natsume.adapters.nats.direct import DirectReader, Stored
from natsume.adapters.nats.publish import WRONG_LAST_SEQUENCE, Publisher
from natsume.core.settling import DeadLetter
from natsume.exceptions import BrokerError
from natsume.model import subject
from natsume.model.record import Done, Settled
from natsume.ports import Replayed

_ALL: Final = "record.done.dead.>"
_REPLAYED: Final = "record.settled.replayed.>"
_PAGE: Final = 200
_FIRST: Final = b"Nats-Expected-Last-Subject-Sequence: 0\r\nNats-Expected-Last-Subject-Sequence-Subject: %b\r\n"
_OVER: Final = b"Nats-Expected-Last-Subject-Sequence: %d\r\n"
_done = msgspec.json.Decoder(Done)
_settled = msgspec.json.Decoder(Settled)


class StreamLetters:
    """The dead letters of the RECORDS stream."""

    def __init__(
        self, publisher: Publisher, reader: DirectReader, stream_info: Callable[[str], Awaitable[dict[str, Any]]]
    ) -> None:
        self._publisher = publisher
        self._reader = reader
        self._stream_info = stream_info

    async def scan(self) -> AsyncIterator[DeadLetter]:
        """All dead letters that there are now, oldest first; one that comes meanwhile is left out."""
        last = (await self._stream_info(subject.RECORDS))["state"]["last_seq"]
        sequence = 1
        while page := [one for one in await self._reader.after(_ALL, sequence, _PAGE) if one.sequence <= last]:
            letters = [_done.decode(stored.body) for stored in page]
            settled = await self.settled([done.id for done in letters])
            for done in letters:
                yield DeadLetter(done, *settled.get(done.id, (None, 0)))
            sequence = page[-1].sequence + 1

    async def settled(self, ids: Sequence[str]) -> dict[str, tuple[Settled, int]]:
        """What was decided on those of these dead letters on which anything was, with the revision."""
        found: dict[str, tuple[Settled, int]] = {}
        for at in range(0, len(ids), _PAGE):
            for stored in await self._reader.last([subject.settled_fence(one) for one in ids[at : at + _PAGE]]):
                record = _settled.decode(stored.body)
                found[record.id] = (record, stored.sequence)
        return found

    async def replayed(self, revision: int, count: int) -> list[Replayed]:
        """At most `count` of the replays that were decided, from a revision on, in the order of their revisions."""
        found = await self._reader.after(_REPLAYED, revision, count)
        return [Replayed(_read(one), one.sequence, datetime.fromisoformat(one.at).timestamp()) for one in found]

    async def settle(self, record: Settled, revision: int) -> int | None:
        """Write a decision over the one of this revision, 0 for none; the new revision, or None if another stands."""
        fence = _OVER % revision if revision else _FIRST % subject.settled_fence(record.id).encode()
        name = subject.settled(record.kind, record.id)
        try:
            return await self._publisher.publish(name.encode(), fence, msgspec.json.encode(record))
        except BrokerError as error:
            if error.code != WRONG_LAST_SEQUENCE:
                raise
            return None


def _read(stored: Stored) -> Settled | None:
    """A decision, if that is what somebody has written there."""
    try:
        record = _settled.decode(stored.body)
    except (msgspec.MsgspecError, ValueError):
        return None
    return record if subject.settled(record.kind, record.id) == stored.subject else None
