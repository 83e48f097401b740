"""A conductor in a process of its own: `python -m tests.integration.ticks.conductor URL FOLDER`."""

import asyncio
import sys
from pathlib import Path

from natsume.actors.registry import Registry
from natsume.compose.conductor import conducting
from natsume.settings import Settings

from . import actors


async def main(url: str, folder: str) -> None:
    settings = Settings(nats_url=url, worker="c", data_dir=Path(folder))
    async with conducting(settings, Registry.of_classes({"t:EachOne": actors.EachOne})):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
