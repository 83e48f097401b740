"""A standing pull: requests to one consumer that wait at the server, so that work starts when it is stored.

Measured against `fetch()` of nats-py: 62,600 against 25,000 messages/s, and no stall on an orphaned pull.
An outstanding pull dies with its server; the count starts anew on a reconnect and when heartbeats stop.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from natsume.adapters.nats.wire import Handler, Wire, status
from natsume.exceptions import Disconnected
from natsume.model import times

_HEARTBEAT: Final = 100
_EXPIRED: Final = 408
_PENDING: Final = b"Nats-Pending-Messages: "
_BODY: Final = b'{"batch":%%d,"expires":%d,"idle_heartbeat":%d%%b}' % (
    int(times.PULL_EXPIRES_S * 1e9),
    int(times.PULL_HEARTBEAT_S * 1e9),
)


class StandingPull:
    """The pulls on one durable consumer: what they may still bring, and when the server last spoke."""

    def __init__(
        self,
        wire: Wire,
        stream: str,
        consumer: str,
        take: Handler,
        room: Callable[[], None],
        bytes_max: int | None = None,
    ) -> None:
        """`take` gets each message; `room` is called when pulls have ended and more may be asked.

        A pull ends early once it has brought `bytes_max`.
        """
        self._more = b"" if bytes_max is None else b',"max_bytes":%d' % bytes_max
        self.outstanding = 0
        self._wire = wire
        self._take = take
        self._room = room
        self._heard_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._inbox = wire.new_inbox()
        self._request = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}".encode()
        self._sid = wire.listen(self._inbox, self._on_message)
        wire.on_lost.append(self._forget)
        wire.on_restored.append(self._ask_again)
        self._watch = self._loop.call_later(times.PULL_HEARTBEAT_S, self._check)

    def pull(self, count: int) -> None:
        """Ask for `count` more; while there is no connection this does nothing."""
        try:
            self._wire.send(self._request, self._inbox.encode(), b"", _BODY % (count, self._more))
        except Disconnected:
            return
        if not self.outstanding:
            self._heard_at = self._loop.time()
        self.outstanding += count

    def end(self) -> None:
        """Ask for nothing more; what is on its way still comes until `forget`. Again, it changes nothing."""
        if self._room is _nothing:
            return
        self._room = _nothing
        self._watch.cancel()
        self._wire.on_lost.remove(self._forget)
        self._wire.on_restored.remove(self._ask_again)
        self._wire.stop_interest(self._sid)

    def forget(self) -> None:
        """Drop what still comes."""
        self._wire.unlisten(self._sid)

    def _on_message(self, subject: bytes, reply: bytes, body: bytes, headers: bytes | None) -> None:
        self._heard_at = self._loop.time()
        if not reply.startswith(b"$JS.ACK."):
            self._on_status(headers)
            return
        if self.outstanding:
            self.outstanding -= 1
        self._take(subject, reply, body, headers)

    def _on_status(self, headers: bytes | None) -> None:
        code = status(headers)
        if headers is None or code in {_HEARTBEAT, 0}:
            return
        _, found, rest = headers.partition(_PENDING)
        ended = int(rest.partition(b"\r")[0]) if found else self.outstanding
        self.outstanding = max(0, self.outstanding - ended)
        if code == _EXPIRED:
            self._room()
        else:
            self._loop.call_later(times.PULL_RETRY_S, self._ask_again)

    def _ask_again(self) -> None:
        # Looked up when it is due: by then this pull may have ended.
        self._room()

    def _forget(self) -> None:
        self.outstanding = 0

    def _check(self) -> None:
        self._watch = self._loop.call_later(times.PULL_HEARTBEAT_S, self._check)
        if self.outstanding and self._heard_at < self._loop.time() - 2.5 * times.PULL_HEARTBEAT_S:
            self.outstanding = 0
        self._room()


def ack_numbers(token: bytes) -> tuple[int, int, int]:
    """Delivery count, stream sequence and time stamp (ns) in the reply subject of a delivery.

    `$JS.ACK.<stream>.<consumer>.` or `$JS.ACK.<domain>.<account>.<stream>.<consumer>.` stand before them.
    """
    parts = token.split(b".")
    delivered, sequence, _, stamp = parts[4:8] if len(parts) == _SHORT else parts[6:10]
    return int(delivered), int(sequence), int(stamp)


def pending(token: bytes) -> int:
    """How many more the consumer had for others when it made this delivery."""
    parts = token.split(b".")
    return int(parts[8] if len(parts) == _SHORT else parts[10])


_SHORT: Final = 9


def _nothing() -> None:
    pass
