"""Joins of which nothing can come any more, found and removed in their bucket (port OldJoins)."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from natsume.adapters.nats.direct import DirectReader, Stored
from natsume.adapters.nats.joins import BUCKET
from natsume.adapters.nats.request import Request
from natsume.core.join import Join
from natsume.exceptions import BrokerError
from natsume.model.subject import is_id, kv
from natsume.ports import OldJoin

_DELETE: Final = f"$JS.API.STREAM.MSG.DELETE.KV_{BUCKET}"
_GONE: Final = frozenset({10043, 10057})  # the latter also if the store failed: then it is there in the next round
_AT_ONCE: Final = 16


class KvOldJoins:
    """The old end of the bucket, whose stream keeps the joins in the order of their last changes."""

    def __init__(self, reader: DirectReader, request: Request) -> None:
        self._reader = reader
        self._request = request

    async def page(self, revision: int, count: int) -> list[OldJoin]:
        """The first joins from a revision on."""
        found = await self._reader.after(kv(BUCKET, ">"), revision, count)
        return [OldJoin(_join(one), one.sequence, datetime.fromisoformat(one.at).timestamp()) for one in found]

    async def remove(self, revisions: Sequence[int]) -> None:
        """Remove the very joins that were read: a revision is gone from the stream once its join changes."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def remove(revision: int) -> None:
            async with room:
                answer = msgspec.json.decode(await self._request(_DELETE, b'{"seq":%d,"no_erase":true}' % revision))
            if "error" in answer and answer["error"].get("err_code") not in _GONE:
                raise BrokerError(f"an old join: {answer['error']['description']}", answer["error"].get("err_code", 0))

        await asyncio.gather(*(remove(revision) for revision in revisions))


def _join(stored: Stored) -> Join | None:
    """The join, if it can be read and is what its key says; its parent's id becomes part of a filter."""
    try:
        join = msgspec.json.decode(stored.body, type=Join)
    except msgspec.MsgspecError:
        return None
    return join if stored.subject == kv(BUCKET, join.id) and is_id(join.parent) else None
