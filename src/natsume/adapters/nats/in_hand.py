"""What a conductor has in hand of its consumers: extended while it lives, so that no other is brought it.

A short `ack_wait` brings a dead conductor's records to another within seconds; a living one keeps its own by
extending all of them, also what only waits for its turn. The server answers the last extension of a round, so
that it is known up to when nobody else was brought a delivery, also where this process or its connection stood still.
"""

import asyncio
import logging
import math
from typing import Final

from natsume.adapters.nats.wire import Wire, status
from natsume.exceptions import Disconnected

ACK_WAIT_S: Final = 5.0
"""The `ack_wait` of the conductors' consumers."""

_ALONE_S: Final = 4.0
_ROUND_S: Final = 1.0
_ROUNDS_MAX: Final = 8
_LEFT_S: Final = 30.0

_log = logging.getLogger(__name__)


class InHand:
    """Deliveries by their tokens, each with the latest time at which surely nobody else had it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._since: dict[bytes, float] = {}
        self._rounds: dict[int, tuple[float, list[bytes]]] = {}
        self._round = 0
        self._woke_at = self._loop.time()
        self._doubt_until = 0.0
        self._inbox = wire.new_inbox()
        self._sid = wire.listen(f"{self._inbox}.*", self._on_answer)
        self._timer = self._loop.call_later(_ROUND_S, self._extend)

    def take(self, token: bytes) -> None:
        """Keep a delivery from now on; one that may have lain before a process that stood still is doubted."""
        now = self._loop.time()
        doubtful = now < self._doubt_until or now - self._woke_at > _ALONE_S
        self._since[token] = -math.inf if doubtful else now

    def is_alone(self, token: bytes) -> bool:
        """Whether surely nobody else has been brought this delivery."""
        return self._loop.time() - self._since.get(token, -math.inf) < _ALONE_S

    def acknowledge(self, token: bytes) -> None:
        """Say that a delivery is dealt with, and let go of it."""
        self._wire.send(token, b"", b"", b"+ACK")
        self._since.pop(token, None)

    def leave(self, token: bytes) -> None:
        """Let the broker bring a delivery again, but not at once."""
        self._loop.call_later(_LEFT_S, self._since.pop, token, None)

    def close(self) -> None:
        """Give everything back, so that another goes on at once."""
        self._timer.cancel()
        self._wire.unlisten(self._sid)
        tokens, self._since = list(self._since), {}
        try:
            for token in tokens:
                self._wire.send(token, b"", b"", b"-NAK")
        except Disconnected:
            _log.info("%d records in hand come to others after %g s", len(tokens), ACK_WAIT_S)

    def _extend(self) -> None:
        now = self._loop.time()
        if now - self._woke_at > _ALONE_S:
            self._doubt_until = now + _ROUND_S
        self._woke_at = now
        self._timer = self._loop.call_later(_ROUND_S, self._extend)
        *others, last = list(self._since) or [b""]
        if not last:
            return
        self._round += 1
        try:
            for token in others:
                self._wire.send(token, b"", b"", b"+WPI")
            self._wire.send(last, f"{self._inbox}.{self._round}".encode(), b"", b"+WPI")
        except Disconnected:
            return
        self._rounds[self._round] = (now, [*others, last])
        self._rounds.pop(self._round - _ROUNDS_MAX, None)

    def _on_answer(self, subject: bytes, _reply: bytes, _body: bytes, headers: bytes | None) -> None:
        """Of what was not extended in time this says nothing: it was another's before the server heard of it."""
        sent_at, tokens = self._rounds.pop(int(subject.rpartition(b".")[2]), (0.0, []))
        if status(headers):
            return
        for token in tokens:
            if self.is_alone(token):
                self._since[token] = sent_at
