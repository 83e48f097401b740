"""Dead letters, read from the records in the order of their deaths, a bounded page at a time."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.direct import DirectReader
from natsume.model import subject
from natsume.model.record import Done

_ALL: Final = "record.done.dead.>"
_PAGE: Final = 200
_done = msgspec.json.Decoder(Done)


async def dead_letters(broker: Broker) -> AsyncIterator[Done]:
    """The done records of all dead letters, oldest first."""
    reader = DirectReader(broker.wire, subject.RECORDS)
    try:
        sequence = 1
        while page := await reader.after(_ALL, sequence, _PAGE):
            for stored in page:
                yield _done.decode(stored.body)
            sequence = page[-1].sequence + 1
    finally:
        reader.close()


async def dead_letter(broker: Broker, task_id: str) -> Done | None:
    """The done record of one dead letter."""
    reader = DirectReader(broker.wire, subject.RECORDS)
    try:
        found = await reader.last([subject.done("dead", task_id)])
        return _done.decode(found[0].body) if found else None
    finally:
        reader.close()
