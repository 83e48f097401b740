"""Connects services to a broker whose topology is there."""

from collections.abc import Generator
from types import TracebackType
from typing import Any

from natsume.actors.registry import Registry
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.events import StreamEvents
from natsume.adapters.nats.outlet import StreamOutlet
from natsume.adapters.nats.topology import ensure
from natsume.adapters.sql.asked import AskedLedger
from natsume.binding import offer
from natsume.client import Client
from natsume.runtime.claiming import Claiming
from natsume.service.cancelling import Cancelling
from natsume.service.sending import Sending
from natsume.service.unique import Uniqueness
from natsume.settings import Settings


class connect:  # noqa: N801 - read as a verb: `async with natsume.connect(url) as client:`
    """A service's client, awaited or as a context: `natsume.connect("nats://127.0.0.1:4222")`.

    Until it is closed, `task.schedule()` submits with it wherever no task runs in this event loop.
    Settings come from the environment where they are not given; actors from the installed entry points
    where no `registry` is given.
    """

    def __init__(
        self, url: str | None = None, *, settings: Settings | None = None, registry: Registry | None = None
    ) -> None:
        settings = settings or Settings.read()
        self._settings = settings.at(url) if url else settings
        self._registry = registry
        self._client: Client | None = None

    def __await__(self) -> Generator[Any, Any, Client]:
        return self._open().__await__()

    async def __aenter__(self) -> Client:
        self._client = await self._open()
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None
        await self._client.close()

    async def _open(self) -> Client:
        broker = await Broker.connect(self._settings, name="natsume client")
        try:
            await ensure(broker.request)
            await broker.refresh()
        except BaseException:
            await broker.close()
            raise
        client = client_of(broker, self._settings, self._registry)
        offer(client)
        return client


def client_of(broker: Broker, settings: Settings, registry: Registry | None = None) -> Client:
    """A client over a connected broker, which it closes."""
    return Client(
        broker.outgoing,
        broker.inquiries,
        broker.records,
        broker.chunks,
        lambda: registry or Registry.load(settings.prefixes),
        broker.now,
        broker.close,
        StreamEvents(broker.publisher),
        broker.claims,
        broker.letters,
        cancelling_of(broker, "client"),
        Sending(
            broker.outgoing,
            claiming_of(broker, settings.worker).submit,
            outlet_of(broker),
        ),
        AskedLedger(settings),
    )


def outlet_of(broker: Broker) -> StreamOutlet:
    """This broker as relays see it, and whoever asks how far it was followed."""
    return StreamOutlet(broker.wire, broker.old_records, broker.config_reader, broker.stream_info)


def cancelling_of(broker: Broker, worker: str) -> Cancelling:
    """What cancels tasks over this broker, in this name."""
    ports = (broker.flags, broker.inquiries, broker.records, broker.waiting, broker.chunks, broker.joins)
    return Cancelling(*ports, broker.now, worker)


def claiming_of(broker: Broker, worker: str) -> Claiming:
    """What takes in unique children over this broker."""
    uniqueness = Uniqueness(broker.claims, broker.inquiries, broker.outgoing)
    return Claiming(uniqueness, broker.inquiries, broker.outgoing, broker.records, broker.now, worker)
