import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

import natsume
from natsume.actors.registry import Registry
from natsume.settings import Settings
from natsume_examples.pilots.db import PilotsDB
from natsume_examples.pilots.logic import Element
from natsume_examples.pilots.web import PilotsApp

Ask = Callable[[str, str], Awaitable[tuple[int, dict]]]
SUMMARY = "/api/my_pilots/summary?vo=vo"


@pytest.fixture
async def ask(natsume_broker, natsume_settings, natsume_registry) -> AsyncIterator[Ask]:
    """A request to the running application, as a web server passes it on."""
    registry = Registry.of_classes(natsume_registry)
    app = PilotsApp(lambda: natsume.connect(settings=natsume_settings, registry=registry))
    to_app, from_app = asyncio.Queue(), asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, to_app.get, from_app.put))

    async def ask(method: str, url: str) -> tuple[int, dict]:
        path, _, query = url.partition("?")
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode()}
        sent = asyncio.Queue()
        await app(scope, to_app.get, sent.put)
        return sent.get_nowait()["status"], json.loads(sent.get_nowait()["body"])

    await to_app.put({"type": "lifespan.startup"})
    assert await from_app.get() == {"type": "lifespan.startup.complete"}
    yield ask
    await to_app.put({"type": "lifespan.shutdown"})
    assert await from_app.get() == {"type": "lifespan.shutdown.complete"}
    await life


async def test_a_pilot_is_submitted_up_to_the_capacity(ask, natsume_client, natsume_worker, draws):
    async with PilotsDB.transaction() as db:
        await db.add([Element("vo", "ce", 1)])
    draws[:] = [0.0]
    status, body = await ask("POST", "/api/my_pilots/submit/ce?vo=vo")
    assert status == 202
    assert await natsume_client.result(body["token"]) == body["token"]
    assert await ask("GET", SUMMARY) == (200, {"reserved": 0, "submitted": 1, "running": 0, "done": 0, "failed": 0})
    assert (await ask("POST", "/api/my_pilots/submit/ce?vo=vo"))[0] == 409


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [("POST", "/api/my_pilots/submit/ce", 404), ("GET", "/api", 404), ("POST", SUMMARY, 405)],
)
async def test_what_is_refused(ask, method, url, status):
    assert (await ask(method, url))[0] == status


async def test_without_a_broker_it_does_not_start():
    app = PilotsApp(lambda: natsume.connect(settings=Settings(nats_url="nats://127.0.0.1:1")))
    sent = asyncio.Queue()

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    await app({"type": "lifespan"}, receive, sent.put)
    assert sent.get_nowait()["type"] == "lifespan.startup.failed"
