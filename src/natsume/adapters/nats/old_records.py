"""Records that nobody waits for any more, found and removed in the stream (port OldRecords)."""

import asyncio
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

import msgspec

from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.request import Request
from natsume.exceptions import BrokerError
from natsume.model.subject import RECORDS, all_of
from natsume.ports import OldRecord

_FOLLOWERS: Final = ("reactor", "ledger")
_AT_ONCE: Final = 16


class StreamOldRecords:
    """The old end of RECORDS."""

    def __init__(self, reader: DirectReader, request: Request) -> None:
        self._reader = reader
        self._request = request

    async def settled(self) -> int:
        """The sequence up to which the reactor and the ledger have acknowledged everything."""
        # The stream's end first: what is stored after it is nobody's pending yet.
        stream = await self._info(f"STREAM.INFO.{RECORDS}")
        end = int(stream["state"]["last_seq"])
        floors = []
        for consumer in _FOLLOWERS:
            info = await self._info(f"CONSUMER.INFO.{RECORDS}.{consumer}")
            waits = info["num_pending"] or info["num_ack_pending"]
            floors.append(int(info["ack_floor"]["stream_seq"]) if waits else end)
        return min(floors)

    async def page(self, kind: str, sequence: int, count: int) -> list[OldRecord]:
        """The first records of a kind from a sequence on; `count` bounds them."""
        found = await self._reader.after(f"record.{kind}.>", sequence, count)
        return [
            OldRecord(one.subject.rpartition(".")[2], one.sequence, datetime.fromisoformat(one.at).timestamp())
            for one in found
        ]

    async def purge(self, task_ids: Collection[str], before: int) -> None:
        """Remove all records of these tasks that lie before a sequence."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def purge(task_id: str) -> None:
            async with room:
                body = msgspec.json.encode({"filter": all_of(task_id), "seq": before})
                await self._request(f"$JS.API.STREAM.PURGE.{RECORDS}", body)

        await asyncio.gather(*(purge(task_id) for task_id in task_ids))

    async def _info(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = msgspec.json.decode(await self._request(f"$JS.API.{name}", b""))
        if "error" in answer:
            raise BrokerError(f"{name}: {answer['error']['description']}", answer["error"].get("err_code", 0))
        return answer
