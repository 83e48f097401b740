"""A connection of commands that only look: it creates nothing and needs no right to write."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from natsume.adapters.nats.broker import Broker
from natsume.settings import Settings


@asynccontextmanager
async def looking(settings: Settings) -> AsyncIterator[Broker]:
    """A broker as it is, its topology unasked; raises BrokerError with one clear sentence."""
    broker = await Broker.connect(settings, name="natsume cli")
    try:
        yield broker
    finally:
        await broker.close()
