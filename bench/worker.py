"""A worker process of the measured actors, until it is terminated."""

import asyncio
import signal
import sys

import uvloop

from bench.actors import REGISTRY
from natsume.compose.worker import working
from natsume.settings import Settings


async def main() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with working(Settings.read(), REGISTRY, concurrency=int(sys.argv[1])) as worker:
        print("ready", worker, flush=True)
        await ended.wait()


uvloop.run(main())
