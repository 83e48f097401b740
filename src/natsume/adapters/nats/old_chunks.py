"""Chunks that may be left over, found and removed in RECORDS (port OldChunks)."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from math import inf
from typing import Any, Final

import msgspec

from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.request import Request
from natsume.core.leftovers import ChunkName
from natsume.model.subject import RECORDS, chunk_filter

_AT_ONCE: Final = 16


class StreamOldChunks:
    """The chunks in RECORDS, by name."""

    def __init__(
        self, reader: DirectReader, request: Request, stream_info: Callable[..., Awaitable[dict[str, Any]]]
    ) -> None:
        self._reader = reader
        self._request = request
        self._stream_info = stream_info

    async def names(self) -> list[ChunkName]:
        """All chunks that there are."""
        found: list[ChunkName] = []
        while True:
            info = await self._stream_info(RECORDS, subjects_filter=chunk_filter("*"), offset=len(found))
            page = info["state"].get("subjects") or {}
            found += map(_name, page)
            if not page or len(found) >= info.get("total", 0):
                return found

    async def written_at(self, name: ChunkName) -> float:
        """When a chunk was stored, in Unix seconds; never, if it is gone."""
        found = await self._reader.last([name.subject])
        return datetime.fromisoformat(found[0].at).timestamp() if found else inf

    async def remove(self, names: Collection[ChunkName]) -> None:
        """Remove chunks."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def remove(name: ChunkName) -> None:
            async with room:
                body = msgspec.json.encode({"filter": name.subject})
                await self._request(f"$JS.API.STREAM.PURGE.{RECORDS}", body)

        await asyncio.gather(*(remove(name) for name in names))


def _name(subject: str) -> ChunkName:
    _, _, run, task_id = subject.split(".")
    return ChunkName(subject, task_id, run.rpartition("-")[0])
