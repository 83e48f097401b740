"""The RECORDS stream: fenced writes and batched look-ups (port Records)."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from natsume.adapters.nats.batch_publish import BatchPublisher
from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.publish import ANOTHER_IN_FLIGHT, WRONG_LAST_SEQUENCE, Publisher
from natsume.exceptions import BrokerError
from natsume.model import subject, times
from natsume.model.record import Done, Failed, History, Started
from natsume.model.told import Commented, Flag, Heartbeat, Progressed

_encode = msgspec.json.Encoder().encode
_done = msgspec.json.Decoder(Done)
_failed = msgspec.json.Decoder(Failed)
_started = msgspec.json.Decoder(Started)

_FENCE: Final = b"Nats-Expected-Last-Subject-Sequence: %d\r\n"
_FENCE_ON: Final = b"Nats-Expected-Last-Subject-Sequence: 0\r\nNats-Expected-Last-Subject-Sequence-Subject: %b\r\n"
_PLAIN_TTL: Final = b"Nats-TTL: %ds\r\n" % times.PLAIN_TTL_S
_START_TTL: Final = b"Nats-TTL: %ds\r\n" % times.START_TTL_S
_TOLD_TTL: Final = b"Nats-TTL: %ds\r\n" % times.TOLD_TTL_S
_UNDECIDED_S: Final = 0.05


class StreamRecords:
    """The facts of tasks in the RECORDS stream."""

    def __init__(self, publisher: Publisher, batches: BatchPublisher, reader: DirectReader) -> None:
        self._publisher = publisher
        self._batches = batches
        self._reader = reader

    async def commit(self, record: Done) -> bool:
        """Write the done record unless one stands; whether this very run's record stands."""
        name, headers = _commitment(record)
        if await self._fenced(name, headers, _encode(record)):
            return True
        standing = await self._reader.last([subject.done_fence(record.id)])
        if not standing:
            raise BrokerError(f"the done record of {record.id} was refused, and none stands: it is tried again")
        return _done.decode(standing[0].body).nonce == record.nonce

    async def commit_all(self, records: Sequence[Done]) -> list[bool | BrokerError]:
        """Write each unless one stands, all in one go; of each in order, whether this very run's stands, or why not."""
        told = await self._batches.publish([(*_commitment(record), _encode(record)) for record in records])
        decided = (self._decided(record, refusal) for record, refusal in zip(records, told, strict=True))
        return [True] * len(records) if not any(told) else await asyncio.gather(*decided)

    async def _decided(self, record: Done, refusal: BrokerError | None) -> bool | BrokerError:
        """Whether a record stands after all; what the server itself refused is asked for once more, alone."""
        if refusal is None:
            return True
        if not refusal.code:
            return refusal
        try:
            return await self.commit(record)
        except BrokerError as error:
            return error

    async def fail(self, record: Failed) -> Failed:
        """Write the record of a failed attempt unless one stands; the one that stands."""
        name = subject.failed(record.attempt, record.id)
        if await self._fenced(name.encode(), _FENCE % 0, _encode(record)):
            return record
        standing = await self._reader.last([name])
        if not standing:
            raise BrokerError(f"the failed attempt of {record.id} was refused, and none stands: it is tried again")
        return _failed.decode(standing[0].body)

    async def start(self, record: Started, expected: int) -> int | None:
        """Write the record of a start if the last one's sequence is `expected`; its sequence, or None."""
        name = subject.started(record.attempt, record.id)
        return await self._fenced(name.encode(), _FENCE % expected + _START_TTL, _encode(record)) or None

    async def tell(self, record: Progressed | Heartbeat | Commented | Flag) -> None:
        """Write what is worth knowing, and nothing rests on; of progress and heartbeats the last one stays."""
        match record:
            case Progressed():
                name = subject.progress(record.id)
            case Heartbeat():
                name = subject.heartbeat(record.id)
            case Commented():
                name = subject.comment(record.key, record.id)
            case Flag():
                name = subject.flagged(record.id)
        await self._publisher.publish(name.encode(), _TOLD_TTL, _encode(record))

    async def look_up(self, asked: Sequence[tuple[str, int]]) -> list[History]:
        """What stands of each task id and attempt, in order."""
        names = [
            name
            for task_id, attempt in asked
            for name in (
                subject.done_fence(task_id),
                subject.failed(attempt, task_id),
                subject.started(attempt, task_id),
            )
        ]
        found: dict[tuple[str, str], tuple[bytes, int]] = {}
        for stored in await self._reader.last(names):
            _, kind, _, task_id = stored.subject.split(".")
            found[kind, task_id] = (stored.body, stored.sequence)
        try:
            return [_history(found, task_id) for task_id, _ in asked]
        except msgspec.MsgspecError as error:
            raise BrokerError(f"a record of one of {len(asked)} tasks cannot be read: {error}") from None

    async def _fenced(self, name: bytes, headers: bytes, body: bytes) -> int:
        """The sequence of what was written, 0 if the fence refused it; undecided is tried again."""
        while True:
            try:
                return await self._publisher.publish(name, headers, body)
            except BrokerError as error:
                if error.code == WRONG_LAST_SEQUENCE:
                    return 0
                if error.code != ANOTHER_IN_FLIGHT:
                    raise
            await asyncio.sleep(_UNDECIDED_S)


def _commitment(record: Done) -> tuple[bytes, bytes]:
    """Where a done record is written, and behind which fence."""
    fence = _FENCE_ON % subject.done_fence(record.id).encode()
    kind = record.kind
    return subject.done(kind, record.id).encode(), fence + _PLAIN_TTL if kind == "plain" else fence


def _history(found: dict[tuple[str, str], tuple[bytes, int]], task_id: str) -> History:
    done, failed, started = (found.get((kind, task_id)) for kind in ("done", "failed", "started"))
    return History(
        _done.decode(done[0]) if done else None,
        _failed.decode(failed[0]) if failed else None,
        _started.decode(started[0]) if started else None,
        started[1] if started else 0,
    )
