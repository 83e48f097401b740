"""A conductor process that knows the measured actors, until it is terminated."""

import asyncio
import signal
import sys

import uvloop

from bench.following import REGISTRY
from natsume.compose.conductor import conducting
from natsume.settings import Settings


async def main() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with conducting(Settings.read(), REGISTRY):
        print("conductor ready", file=sys.stderr, flush=True)
        await ended.wait()


uvloop.run(main())
