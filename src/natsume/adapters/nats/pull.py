"""The lanes as one worker sees them: a standing pull on each (port Deliveries)."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec.structs import replace
from nats import errors

from natsume.adapters.nats.standing import StandingPull, ack_numbers
from natsume.adapters.nats.wire import Wire
from natsume.core.delivery import Delivery
from natsume.core.tick import identified
from natsume.model import codec
from natsume.model.subject import TASKS, Lane, parse_ready

Arrived = Callable[[Delivery], None]

_ACK: Final = b"+ACK"
_NAK: Final = b"-NAK"
_SUBJECTS_MAX: Final = 4096


class Pulls:
    """The deliveries of some lanes over one connection."""

    def __init__(
        self, wire: Wire, lanes: tuple[Lane, ...], created: str, arrived: Arrived, room: Callable[[], None]
    ) -> None:
        """`created` is the stream's creation time as a token; `room` is called when pulls have ended."""
        self._wire = wire
        self._created = created
        self._arrived = arrived
        self._subjects: dict[bytes, tuple[Lane, str | None, str]] = {}
        self._lanes = {lane: StandingPull(wire, TASKS, lane.consumer, self._take, room) for lane in lanes}

    def pull(self, lane: Lane, count: int) -> None:
        """Ask for `count` more; while there is no connection this does nothing."""
        self._lanes[lane].pull(count)

    def outstanding(self, lane: Lane) -> int:
        """Deliveries that were asked for and have not come."""
        return self._lanes[lane].outstanding

    def acknowledge(self, *deliveries: Delivery) -> None:
        """Remove the messages from the stream."""
        self._wire.send_all([(delivery.token, b"", b"", _ACK) for delivery in deliveries])

    def give_back(self, delivery: Delivery) -> None:
        """Have it delivered again at once."""
        self._wire.send(delivery.token, b"", b"", _NAK)

    async def close(self, refuse: Arrived) -> None:
        """End all pulls; what the server sent before it heard of this goes to `refuse`."""
        self._arrived = refuse
        for standing in self._lanes.values():
            standing.end()
        with suppress(errors.Error, TimeoutError):  # a broker that is gone by now brings all of it back
            await self._wire.flush()
        for standing in self._lanes.values():
            standing.forget()

    def _take(self, subject: bytes, reply: bytes, body: bytes, headers: bytes | None) -> None:
        known = self._subjects.get(subject)
        if known is None:
            text = subject.decode("utf-8", "replace")
            known = (*parse_ready(text), text)
            if len(self._subjects) < _SUBJECTS_MAX:
                self._subjects[subject] = known
        lane, actor, text = known
        delivered, sequence, stamp = ack_numbers(reply)
        envelope = codec.decode(lane, actor, "", headers, body)
        task = envelope.task
        if not task.id:
            task = replace(task, id=f"at-{self._created}-{sequence}-{stamp}")
        if envelope.fired and headers:
            task = identified(task, headers)
        if task.submitted_at is None:  # nobody said so: a child, a callback, a message of `nats pub`
            task = replace(task, submitted_at=stamp / 1e9)
        delivery = Delivery(
            task,
            reply,
            sequence,
            delivered,
            envelope.resent,
            envelope.fired,
            envelope.fault,
            headers or b"",
            text,
            stamp / 1e9,
            # What was delivered before may have used them.
            task.grants if delivered == 1 else None,
        )
        self._arrived(delivery)
