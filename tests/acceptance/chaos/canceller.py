"""A process that cancels the tasks that it is told of, one after the other, slow between a flag and its commit."""

import asyncio
import sys
from typing import Any

from natsume.actors.registry import Registry
from natsume.adapters.nats.records import StreamRecords
from natsume.connecting import connect
from natsume.settings import Settings

SLOW_S = 0.05
_commit = StreamRecords.commit


async def slow_commit(self: StreamRecords, record: Any) -> bool:
    print("flagged", flush=True)
    await asyncio.sleep(SLOW_S)
    return await _commit(self, record)


async def main(tokens: list[str]) -> None:
    async with connect(settings=Settings.read(), registry=Registry()) as client:
        for token in tokens:
            print(token, flush=True)
            await client.cancel(token, why="chaos")
        print("all", flush=True)


if __name__ == "__main__":
    StreamRecords.commit = slow_commit  # type: ignore[method-assign]
    asyncio.run(main(sys.stdin.read().split()))
