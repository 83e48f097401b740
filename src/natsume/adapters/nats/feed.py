"""The reactor's consumer on RECORDS (port DoneFeed)."""

import asyncio
from typing import Final

import msgspec

from natsume.adapters.nats.in_hand import InHand
from natsume.adapters.nats.standing import StandingPull, ack_numbers
from natsume.adapters.nats.wire import Wire
from natsume.model.record import Done
from natsume.model.subject import RECORDS
from natsume.ports import DoneDelivery

CONSUMER: Final = "reactor"
_AHEAD: Final = 1024
_done = msgspec.json.Decoder(Done)


class RecordFeed:
    """Done records as they are stored, at most a bounded number ahead."""

    def __init__(self, wire: Wire) -> None:
        self._in_hand = InHand(wire)
        self._arrived: asyncio.Queue[DoneDelivery] = asyncio.Queue()
        self._standing = StandingPull(wire, RECORDS, CONSUMER, self._take, self._room)
        self._room()

    async def batch(self, count_max: int) -> list[DoneDelivery]:
        """At least one, as soon as there is one."""
        taken = [await self._arrived.get()]
        while len(taken) < count_max and not self._arrived.empty():
            taken.append(self._arrived.get_nowait())
        self._room()
        return taken

    def is_alone(self, delivery: DoneDelivery) -> bool:
        """Whether surely nobody else has been brought this record."""
        return delivery.delivered == 1 and self._in_hand.is_alone(delivery.token)

    def acknowledge(self, delivery: DoneDelivery) -> None:
        """Say that all that follows from a record is stored."""
        self._in_hand.acknowledge(delivery.token)

    def leave(self, delivery: DoneDelivery) -> None:
        """Let the broker bring a record again, but not at once."""
        self._in_hand.leave(delivery.token)

    def close(self) -> None:
        """Ask for nothing more; what was not acknowledged goes to others at once."""
        self._standing.end()
        self._standing.forget()
        self._in_hand.close()

    def _room(self) -> None:
        room = _AHEAD - self._arrived.qsize() - self._standing.outstanding
        if room >= _AHEAD // 2:
            self._standing.pull(room)

    def _take(self, _subject: bytes, reply: bytes, body: bytes, _headers: bytes | None) -> None:
        delivered, sequence, _ = ack_numbers(reply)
        self._in_hand.take(reply)
        try:
            record = _done.decode(body)
        except msgspec.MsgspecError:
            record = None
        self._arrived.put_nowait(DoneDelivery(record, reply, sequence, delivered))
