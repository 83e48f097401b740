"""A broker whose topology is there, as processes have it; a service's client is more, and loaded where one is used."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.topology import ensure
from natsume.settings import Settings


@asynccontextmanager
async def connected(settings: Settings, *, name: str = "natsume") -> AsyncIterator[Broker]:
    """A broker whose topology is there; raises BrokerError with one clear sentence."""
    broker = await Broker.connect(settings, name=name)
    try:
        await ensure(broker.request)
        await broker.refresh()
        yield broker
    finally:
        await broker.close()
