"""The ledger's consumers on RECORDS (port RecordsFeed).

Two, so that a flood of untracked successes, which only history misses, holds up nothing that somebody asks for.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from natsume.adapters.nats.standing import StandingPull, ack_numbers
from natsume.adapters.nats.wire import Wire
from natsume.exceptions import Disconnected
from natsume.model import limits
from natsume.model.subject import RECORDS
from natsume.ports import Recorded

CONSUMERS: Final = ("ledger", "ledger-plain")


class LedgerFeed:
    """Records as they are stored, bounded in number and bytes; what waits for a commit is not asked for again."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._arrived = asyncio.Event()
        self._queues = [_Queue(wire, consumer, self._arrived) for consumer in CONSUMERS]

    async def batch(self, count_max: int) -> list[Recorded]:
        """At least one, as soon as there is one and a moment has brought what comes with it."""
        while not any(queue.waiting for queue in self._queues):
            self._arrived.clear()
            await self._arrived.wait()
        if sum(len(queue.waiting) for queue in self._queues) < count_max:
            await asyncio.sleep(limits.LEDGER_LINGER_S)
        taken: list[Recorded] = []
        for queue in self._queues:
            taken += queue.take(count_max - len(taken))
        return taken

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
        self._bytes = 0
        self._arrived = arrived
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
        _, sequence, _ = ack_numbers(reply)
        self.waiting.append(Recorded(subject.decode(), body, reply, sequence))
        self._bytes += len(body)
        self._arrived.set()
