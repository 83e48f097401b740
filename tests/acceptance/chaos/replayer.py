"""A process that replays a dead letter with another number, and stops for ever where it is told to."""

import asyncio
import sys
from typing import Any

from chaos_actors import Correctable

from natsume.actors.registry import Registry
from natsume.adapters.nats.letters import StreamLetters
from natsume.adapters.nats.outgoing import StreamOutgoing
from natsume.connecting import connect
from natsume.settings import Settings

settle = StreamLetters.settle


async def stop(*_: Any, **__: Any) -> None:
    print("stopped", flush=True)
    await asyncio.Event().wait()


async def settle_and_stop(self: StreamLetters, record: Any, revision: int) -> int | None:
    if record.sent:
        await stop()
    return await settle(self, record, revision)


async def main(token: str, number: int) -> None:
    registry = Registry.of_classes({"chaos:Correctable": Correctable})
    async with connect(settings=Settings.read(), registry=registry) as client:
        await client.letters.replay(token, task=Correctable(number), why="chaos")


if __name__ == "__main__":
    token, after = sys.argv[1:]
    if after == "decided":
        StreamOutgoing.record = stop  # type: ignore[method-assign,assignment]
    elif after == "recorded":
        StreamOutgoing.submit = stop  # type: ignore[method-assign,assignment]
    else:
        StreamLetters.settle = settle_and_stop  # type: ignore[method-assign]
    asyncio.run(main(token, 2))
