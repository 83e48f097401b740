"""The reactor's consumer on RECORDS (port DoneFeed)."""

import asyncio
import time
from typing import Final

import msgspec

from natsume.adapters.nats.standing import StandingPull, ack_numbers
from natsume.adapters.nats.wire import Wire
from natsume.model.record import Done
from natsume.model.subject import RECORDS
from natsume.ports import DoneDelivery

CONSUMER: Final = "reactor"
_AHEAD: Final = 1024
_FRESH_S: Final = 5.0
_done = msgspec.json.Decoder(Done)


class RecordFeed:
    """Done records as they are stored, at most a bounded number ahead."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._arrived: asyncio.Queue[tuple[DoneDelivery, float]] = asyncio.Queue()
        self._standing = StandingPull(wire, RECORDS, CONSUMER, self._take, self._room)
        self._room()

    async def batch(self, count_max: int) -> list[DoneDelivery]:
        """At least one, as soon as there is one."""
        taken = [_handed_out(*await self._arrived.get())]
        while len(taken) < count_max and not self._arrived.empty():
            taken.append(_handed_out(*self._arrived.get_nowait()))
        self._room()
        return taken

    def acknowledge(self, delivery: DoneDelivery) -> None:
        """Say that all that follows from a record is stored."""
        self._wire.send(delivery.token, b"", b"", b"+ACK")

    def extend(self, delivery: DoneDelivery) -> None:
        """Say that it is still being dealt with."""
        self._wire.send(delivery.token, b"", b"", b"+WPI")

    def close(self) -> None:
        """Ask for nothing more; what was not acknowledged comes again."""
        self._standing.end()
        self._standing.forget()

    def _room(self) -> None:
        room = _AHEAD - self._arrived.qsize() - self._standing.outstanding
        if room >= _AHEAD // 2:
            self._standing.pull(room)

    def _take(self, _subject: bytes, reply: bytes, body: bytes, _headers: bytes | None) -> None:
        delivered, sequence, _ = ack_numbers(reply)
        try:
            record = _done.decode(body)
        except msgspec.MsgspecError:
            record = None
        self._arrived.put_nowait((DoneDelivery(record, reply, sequence, delivered), time.monotonic()))


def _handed_out(delivery: DoneDelivery, arrived_at: float) -> DoneDelivery:
    """The delivery; one that aged here may have been brought to another by now, and counts as such."""
    if time.monotonic() - arrived_at > _FRESH_S:
        delivery.delivered = max(delivery.delivered, 2)
    return delivery
