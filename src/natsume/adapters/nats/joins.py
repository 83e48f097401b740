"""Joins in their bucket, and children in chunks (ports Joins and Chunks)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.publish import WRONG_LAST_SEQUENCE, Publisher
from natsume.adapters.nats.request import Request
from natsume.core.join import Join
from natsume.exceptions import BrokerError, MissingChunk
from natsume.model import subject
from natsume.model.record import Chunk

BUCKET: Final = "joins"
_FENCE: Final = b"Nats-Expected-Last-Subject-Sequence: %d\r\n"
_PAGE: Final = 500


class KvJoins:
    """The joins of the bucket."""

    def __init__(self, publisher: Publisher, reader: DirectReader) -> None:
        self._publisher = publisher
        self._reader = reader

    async def open(self, joins: Sequence[Join]) -> None:
        """Store joins that are not there yet."""
        await asyncio.gather(*(self.update(join, 0) for join in joins))

    async def read(self, ids: Sequence[str]) -> dict[str, tuple[Join, int]]:
        """The joins of these ids that there are, with their revisions."""
        found: dict[str, tuple[Join, int]] = {}
        for at in range(0, len(ids), _PAGE):
            names = [subject.kv(BUCKET, join_id) for join_id in ids[at : at + _PAGE]]
            for stored in await self._reader.last(names):
                if stored.body:
                    join = msgspec.json.decode(stored.body, type=Join)
                    found[join.id] = (join, stored.sequence)
        return found

    async def update(self, join: Join, revision: int) -> int | None:
        """Store a join if its revision is still this; the new revision, or None."""
        name = subject.kv(BUCKET, join.id).encode()
        try:
            return await self._publisher.publish(name, _FENCE % revision, msgspec.json.encode(join))
        except BrokerError as error:
            if error.code != WRONG_LAST_SEQUENCE:
                raise
            return None


class RecordChunks:
    """Chunks of children in RECORDS: they wait for the reactor however long it is down."""

    def __init__(self, publisher: Publisher, reader: DirectReader, request: Request) -> None:
        self._publisher = publisher
        self._reader = reader
        self._request = request

    async def write(self, task_id: str, nonce: str, number: int, chunk: Chunk) -> None:
        """Store a chunk of a run's children."""
        name = subject.chunk(nonce, number, task_id).encode()
        await self._publisher.publish(name, b"", msgspec.json.encode(chunk))

    async def read(self, task_id: str, nonce: str, number: int) -> Chunk:
        """A chunk that a done record names."""
        found = await self._reader.last([subject.chunk(nonce, number, task_id)])
        if not found:
            raise MissingChunk(f"chunk {number} of the children of {task_id} is not there")
        return msgspec.json.decode(found[0].body, type=Chunk)

    async def purge(self, task_id: str) -> None:
        """Remove the chunks of all runs of a task whose children are submitted."""
        filter_ = msgspec.json.encode({"filter": subject.chunk_filter(task_id)})
        await self._request(f"$JS.API.STREAM.PURGE.{subject.RECORDS}", filter_)


async def list_ids(stream_info: Callable[..., Awaitable[dict[str, Any]]]) -> list[str]:
    """The ids of all joins of the bucket."""
    prefix = subject.kv(BUCKET, "")
    ids: list[str] = []
    while True:
        info = await stream_info(f"KV_{BUCKET}", subjects_filter=prefix + ">", offset=len(ids))
        page = info["state"].get("subjects") or {}
        ids.extend(name.removeprefix(prefix) for name in page)
        if not page or len(ids) >= info.get("total", 0):
            return ids
