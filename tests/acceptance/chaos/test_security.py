"""Clients and workers are let in by each way there is, come back after an outage, and tell nobody their secrets."""

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from natsume.adapters.nats.embedded import EmbeddedServer

from .actors import Nap
from .authority import PASSWORD, WAYS, Secured, mutual_tls, password
from .installation import Installation, WorkerProcess


@pytest.fixture(params=WAYS)
def secured(request: pytest.FixtureRequest, tmp_path: Path) -> Secured:
    return WAYS[request.param](tmp_path)


@pytest.fixture
def dead_url() -> Iterator[str]:
    """Where nobody listens, for as long as the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"nats://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
async def installation(secured: Secured, tmp_path: Path, dead_url: str) -> AsyncIterator[Installation]:
    """Its first server is dead."""
    with EmbeddedServer(extra_config=secured.config) as server:
        urls = {"NATSUME_NATS_URL": f"{dead_url},{server.url}"}
        installation = Installation(server, tmp_path, 2.0, **secured.environment, **urls)
        try:
            yield await installation.open()
        finally:
            await installation.close()
            server.kill()


async def test_client_and_worker_connect_come_back_and_keep_their_secrets(
    installation: Installation, secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    worker = await installation.start_worker(NATSUME_LOG_LEVEL="debug").ready()
    assert await installation.client.result(await installation.client.submit(Nap(1))) == 1
    await installation.restart_broker()
    assert await installation.client.result(await installation.client.submit(Nap(2))) == 2
    worker.process.terminate()
    assert await worker.ended() == 0
    logs = worker.said() + caplog.text
    print(f"{len(worker.said())} bytes of a worker's log and {len(caplog.text)} of a client's hold no secret")
    assert "the connection to the broker is back" in worker.said()
    assert [secret for secret in secured.secrets if secret in logs] == []


async def refused(server: EmbeddedServer, folder: Path, **environment: str) -> str:
    """What a worker says that is not let in."""
    (folder / "chaos").mkdir()
    installation = Installation(server, folder / "chaos", 2.0)
    log = folder / "refused.log"
    worker = WorkerProcess(installation.environment(**environment), (), log)
    assert await worker.ended() == 1
    return worker.said()


async def test_a_wrong_password_is_one_clear_line_without_it(tmp_path: Path) -> None:
    with EmbeddedServer(extra_config=password(tmp_path).config) as server:
        url = server.url.replace("nats://", "nats://natsume:wrong-secret@")
        said = await refused(server, tmp_path, NATSUME_NATS_URL=url)
    print(said)
    assert len(said.splitlines()) == 1
    assert "uthorization" in said
    assert "wrong-secret" not in said
    assert PASSWORD not in said


async def test_a_server_of_an_unknown_authority_is_one_clear_line(tmp_path: Path) -> None:
    with EmbeddedServer(extra_config=mutual_tls(tmp_path).config) as server:
        said = await refused(server, tmp_path, NATSUME_NATS_URL=server.url.replace("nats://", "tls://"))
    print(said)
    assert len(said.splitlines()) == 1
    assert "certificate" in said
