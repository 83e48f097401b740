"""The ledger's consumers on RECORDS (port RecordsFeed).

Two, so that a flood of untracked successes, which only history misses, holds up nothing that somebody asks for.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from natsume.adapters.nats.standing import StandingPull, ack_numbers, pending
from natsume.adapters.nats.wire import Wire
from natsume.exceptions import Disconnected
from natsume.model import limits, times
from natsume.model.subject import RECORDS
from natsume.ports import Recorded

CONSUMERS: Final = ("ledger", "ledger-plain")
_LOOK: Final = 250
"""Records after which a queue looks how fast they are stored."""


class LedgerFeed:
    """Records as they are stored, bounded in number and bytes; what waits for a commit is not asked for again."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._arrived = asyncio.Event()
        self._queues = [_Queue(wire, consumer, self._arrived) for consumer in CONSUMERS]
        self._first, self._plain = self._queues
        self._plain_from = 0.0

    async def batch(self, count_max: int) -> list[Recorded]:
        """At least one, as soon as there is one and a moment has brought what comes with it."""
        while not any(queue.waiting for queue in self._queues):
            self._arrived.clear()
            await self._arrived.wait()
        if sum(len(queue.waiting) for queue in self._queues) < count_max:
            await asyncio.sleep(times.LEDGER_LINGER_S)
        if not self._first.waiting:
            await self._pace()
        taken = self._first.take(count_max)
        plain = self._plain.take(count_max - len(taken))
        self._plain_from = max(self._plain_from, time.monotonic()) + len(plain) / limits.LEDGER_PLAIN_PER_S
        return taken + plain

    async def _pace(self) -> None:
        """While workers end plain tasks in a flood the machine is theirs for a while, unless something comes first."""
        while not self._first.waiting and self._plain.flooded and (rest_s := self._plain_from - time.monotonic()) > 0:
            self._arrived.clear()
            try:
                async with asyncio.timeout(rest_s):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def acknowledge(self, batch: Sequence[Recorded]) -> None:
        """Say that their rows are committed; without a connection they come again, and change nothing."""
        try:
            for record in batch:
                self._wire.send(record.token, b"", b"", b"+ACK")
        except Disconnected:
            return

    def close(self) -> None:
        """Ask for nothing more; what was not acknowledged comes again."""
        for queue in self._queues:
            queue.close()


class _Queue:
    """What one consumer has brought."""

    def __init__(self, wire: Wire, consumer: str, arrived: asyncio.Event) -> None:
        self.waiting: deque[Recorded] = deque()
        self.flooded = False
        self._bytes = 0
        self._arrived = arrived
        self._count = 0
        self._looked = (0.0, 0)
        self._pull = StandingPull(
            wire, RECORDS, consumer, self._on_message, self._room, bytes_max=limits.LEDGER_AHEAD_BYTES
        )
        self._room()

    def take(self, count: int) -> list[Recorded]:
        """At most so many, oldest first."""
        taken = [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]
        self._bytes -= sum(len(record.body) for record in taken)
        self._room()
        return taken

    def close(self) -> None:
        self._pull.end()
        self._pull.forget()

    def _room(self) -> None:
        room = limits.LEDGER_AHEAD - len(self.waiting) - self._pull.outstanding
        if room >= limits.LEDGER_AHEAD // 2 and self._bytes < limits.LEDGER_AHEAD_BYTES:
            self._pull.pull(room)

    def _on_message(self, subject: bytes, reply: bytes, body: bytes, _headers: bytes | None) -> None:
        _, sequence, stamp = ack_numbers(reply)
        self._count += 1
        if self._count % _LOOK == 0:
            self._look(stamp, pending(reply))
        self.waiting.append(Recorded(subject.decode(), body, reply, sequence))
        self._bytes += len(body)
        self._arrived.set()

    def _look(self, stamp: int, left: int) -> None:
        """Whether records are stored faster than is usual, and what is in hand is not old."""
        now = time.monotonic()
        (since, before), self._looked = self._looked, (now, left)
        stored = (left - before + _LOOK) / (now - since)
        young = time.time() - stamp / 1e9 < times.LEDGER_PLAIN_PATIENCE_S
        self.flooded = young and stored > limits.LEDGER_PLAIN_PER_S
