"""Publishing many messages of one stream in one go, with one acknowledgement for all that were stored.

The server's fast ingest: each message is checked and stored for itself, in order, by its own expectations; the
server names those that it refused, and acknowledges when the last one is dealt with. The stream must allow it
(`allow_batched`, nats-server 2.14). Measured with 500 fenced records a time: 2 us less of the worker's processor
time for each than with an acknowledgement for each.
"""

import asyncio
import itertools
from collections.abc import Collection
from typing import Final

import msgspec

from natsume.adapters.nats.publish import Outcome, Refusal, read_outcome
from natsume.adapters.nats.wire import Wire
from natsume.exceptions import BrokerError, Disconnected, NotAcknowledged
from natsume.model import times

Stored = BrokerError | None
"""None for a message that is stored; or why it is not, or why nobody knows."""

_ACK_EVERY: Final = 500
_START, _APPEND, _COMMIT = 0, 1, 2
_UNREPORTED = "the broker lost it on the way, or did not say what became of it"


class _Told(msgspec.Struct):
    """What the server says: the place of a message that it refused, a gap that ends before `seq`, or the end."""

    type: str = ""
    seq: int = 0
    last_seq: int = 0
    count: int = 0
    error: Refusal | None = None


_told = msgspec.json.Decoder(_Told)


class _Batch:
    def __init__(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self.size = size
        self.failed: dict[int, BrokerError] = {}
        self.outcome: asyncio.Future[Outcome] = loop.create_future()


class BatchPublisher:
    """Sends messages together and tells which of them are stored."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        inbox = wire.new_inbox()
        # The last word before the count names the batch to the server, for all its clients.
        self._prefix = f"{inbox}.{inbox.rpartition('.')[2]}-".encode()
        self._count = itertools.count(1)
        self._open: dict[int, _Batch] = {}
        self._route = wire.listen(f"{inbox}.>", self._on_answer)
        wire.on_lost.append(self._on_lost)

    async def publish(self, messages: Collection[tuple[bytes, bytes, bytes]]) -> list[Stored]:
        """Send messages, each a subject, headers and a body; of each in order, whether it is stored."""
        if not messages:
            return []
        number = next(self._count)
        batch = self._open[number] = _Batch(len(messages), asyncio.get_running_loop())
        try:
            self._wire.send_all(
                (subject, self._reply(number, place, len(messages)), headers, body)
                for place, (subject, headers, body) in enumerate(messages, 1)
            )
            async with asyncio.timeout(times.PUBACK_TIMEOUT_S):
                outcome = await batch.outcome
        except TimeoutError:
            outcome = NotAcknowledged(f"the broker did not acknowledge within {times.PUBACK_TIMEOUT_S:g} s")
        except Disconnected as error:
            outcome = error
        finally:
            del self._open[number]
        lost = outcome if isinstance(outcome, BrokerError) else None
        return [batch.failed.get(place, lost) for place in range(1, len(messages) + 1)]

    def close(self) -> None:
        """Stop; of what is on its way nobody knows whether it is stored."""
        self._wire.on_lost.remove(self._on_lost)
        self._wire.unlisten(self._route)
        self._on_lost()

    def _reply(self, number: int, place: int, count: int) -> bytes:
        """Where the server reads which message of which batch this is; `ok`: one that is refused ends no batch."""
        operation = _COMMIT if place == count else _APPEND if place > 1 else _START
        return b"%b%d.%d.ok.%d.%d.$FI" % (self._prefix, number, _ACK_EVERY, place, operation)

    def _on_answer(self, subject: bytes, _reply: bytes, body: bytes, headers: bytes | None) -> None:
        number = int(subject[len(self._prefix) :].partition(b".")[0])
        batch = self._open.get(number)
        if batch is None:
            return
        told = _told.decode(body) if body else _Told()
        if told.type == "err" and told.error is not None:
            batch.failed[told.seq] = BrokerError(told.error.description, told.error.err_code or told.error.code)
        elif told.type == "gap":
            batch.failed.update((place, NotAcknowledged(_UNREPORTED)) for place in range(told.last_seq, told.seq))
        elif not told.type and not batch.outcome.done():
            outcome = read_outcome(body, headers)
            if not isinstance(outcome, BrokerError) and told.count < batch.size - (batch.size in batch.failed):
                outcome = NotAcknowledged(_UNREPORTED)
            batch.outcome.set_result(outcome)

    def _on_lost(self) -> None:
        for batch in self._open.values():
            if not batch.outcome.done():
                batch.outcome.set_result(Disconnected("the connection was lost before the broker acknowledged"))
