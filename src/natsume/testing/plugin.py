"""The pytest fixtures; each test that uses one gets a nats-server of its own, which takes some 30 ms."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:  # a pytest run that uses none of the fixtures must not pay for these
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from natsume.actors.registry import Registry
    from natsume.adapters.nats.broker import Broker
    from natsume.adapters.nats.embedded import EmbeddedServer
    from natsume.base_task import BaseTask
    from natsume.client import Client
    from natsume.enums import Size
    from natsume.runtime.worker import Worker
    from natsume.settings import Settings

    Actors = Registry | Mapping[str, type[BaseTask]]

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # without it, tests that need no broker still run

    def async_fixture(function):  # type: ignore[no-untyped-def,no-redef] # noqa: D103
        @pytest.fixture(name=function.__name__)
        def missing() -> None:
            pytest.fail(f"{function.__name__} needs pytest-asyncio: pip install pytest-asyncio", pytrace=False)

        return missing


class StartWorker(Protocol):
    """Starts a worker in the test's event loop; it stops when the test ends."""

    async def __call__(self, size: Size | str = ..., concurrency: int = ..., settings: Settings | None = ...) -> Worker:
        """The running worker."""
        ...


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "natsume_leaves_leases(reason): locks may still be held when the test ends")


@pytest.fixture
def natsume_server() -> Iterator[EmbeddedServer]:
    """A running nats-server with an empty store and a `url`; may be killed and started again."""
    from natsume.adapters.nats.embedded import EmbeddedServer  # noqa: PLC0415

    with EmbeddedServer() as server:
        yield server
        server.kill()  # nothing of it is kept


@pytest.fixture
def natsume_settings(natsume_server: EmbeddedServer, tmp_path: Path) -> Settings:
    """Settings for this server, with a ledger of its own, and 2 s of `ack_wait_s` and `grace_s`; override it."""
    from natsume.settings import Settings  # noqa: PLC0415

    return Settings(nats_url=natsume_server.url, data_dir=tmp_path / "natsume", ack_wait_s=2.0, grace_s=2.0)


@pytest.fixture
def natsume_registry() -> Actors:
    """The actors of the installed entry points; override it to return `{"group:Name": TaskClass}` instead."""
    from natsume.actors.registry import Registry  # noqa: PLC0415

    return Registry.load()


@async_fixture
async def natsume_broker(natsume_settings: Settings) -> AsyncIterator[Broker]:
    """A connection to a broker whose streams and consumers are as the settings say."""
    from natsume.adapters.nats import topology  # noqa: PLC0415
    from natsume.adapters.nats.broker import Broker  # noqa: PLC0415

    broker = await Broker.connect(natsume_settings, name="natsume test")
    try:
        await topology.apply(broker.request, ack_wait_s=natsume_settings.ack_wait_s)
        await broker.refresh()
        yield broker
    finally:
        await broker.close()


@async_fixture
async def natsume_client(
    natsume_broker: Broker,  # noqa: ARG001 - its topology
    natsume_settings: Settings,
    natsume_registry: Actors,
) -> AsyncIterator[Client]:
    """A client of the broker, as a service has it."""
    from natsume.connecting import connect  # noqa: PLC0415

    async with connect(settings=natsume_settings, registry=_registry(natsume_registry)) as client:
        yield client


@async_fixture
async def natsume_no_leases(
    natsume_server: EmbeddedServer, natsume_broker: Broker, request: pytest.FixtureRequest
) -> AsyncIterator[None]:
    """Fails the test if locks are held once its workers have stopped; all fixtures with a worker include it."""
    yield
    if not natsume_server.running or request.node.get_closest_marker("natsume_leaves_leases"):
        return
    from natsume.testing.facts import leases  # noqa: PLC0415

    held = await leases(natsume_broker)
    if held:
        pytest.fail(f"the test left {len(held)} locks held: {', '.join(held)}", pytrace=False)


@async_fixture
async def natsume_start_worker(
    natsume_no_leases: None,  # noqa: ARG001 - looks after the workers have stopped
    natsume_settings: Settings,
    natsume_registry: Actors,
) -> AsyncIterator[StartWorker]:
    """Starts workers: `await natsume_start_worker(size="small", concurrency=10)`; they stop with the test."""
    from natsume.compose.worker import working  # noqa: PLC0415
    from natsume.enums import Size  # noqa: PLC0415

    registry = _registry(natsume_registry)
    async with contextlib.AsyncExitStack() as running:

        async def start(size: Size | str = "small", concurrency: int = 10, settings: Settings | None = None) -> Worker:
            worker = working(settings or natsume_settings, registry, Size(size), concurrency)
            return await running.enter_async_context(worker)

        yield start


@async_fixture
async def natsume_worker(natsume_start_worker: StartWorker) -> Worker:
    """A worker of size small that runs ten tasks at a time in the test's event loop."""
    return await natsume_start_worker()


@async_fixture
async def natsume_conductor(
    natsume_broker: Broker,  # noqa: ARG001 - its topology
    natsume_settings: Settings,
    natsume_registry: Actors,
) -> AsyncIterator[None]:
    """A conductor in the test's event loop: children are submitted, joins counted, callbacks fired."""
    from natsume.compose.conductor import conducting  # noqa: PLC0415

    async with conducting(natsume_settings, _registry(natsume_registry)):
        yield


def _registry(actors: Actors) -> Registry:
    from natsume.actors.registry import Registry  # noqa: PLC0415

    return Registry.of_classes(actors) if isinstance(actors, Mapping) else actors
