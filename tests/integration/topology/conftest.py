"""A fresh server for each test, and the `request` that the topology speaks through."""

from collections.abc import AsyncIterator, Iterator

import nats
import pytest
from nats.aio.client import Client

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.adapters.nats.request import Request


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server
        server.kill()  # nothing of it is kept


@pytest.fixture
async def connection(server: EmbeddedServer) -> AsyncIterator[Client]:
    connection = await nats.connect(server.url, allow_reconnect=False)
    yield connection
    await connection.close()


@pytest.fixture
def request_api(connection: Client) -> Request:
    return _request_over(connection)


@pytest.fixture
async def six_requests(server: EmbeddedServer) -> AsyncIterator[list[Request]]:
    """As six processes would have them: each over its own connection."""
    connections = [await nats.connect(server.url, allow_reconnect=False) for _ in range(6)]
    yield [_request_over(connection) for connection in connections]
    for connection in connections:
        await connection.close()


def _request_over(connection: Client) -> Request:
    async def request(subject: str, payload: bytes) -> bytes:
        return (await connection.request(subject, payload, timeout=5)).data

    return request
