"""One installation for each test, with an `ack_wait` of two seconds unless it asks for another."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from natsume.adapters.nats.embedded import EmbeddedServer

from .installation import Installation


@pytest.fixture
def ack_wait_s() -> float:
    return 2.0


@pytest.fixture
async def installation(tmp_path: Path, ack_wait_s: float) -> AsyncIterator[Installation]:
    with EmbeddedServer() as server:
        installation = Installation(server, tmp_path, ack_wait_s)
        try:
            yield await installation.open()
        finally:
            await installation.close()
            server.kill()
