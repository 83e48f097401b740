"""What the ledger takes: done records into each database by one conductor, and what that costs a worker beside it."""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from tests.private_mariadb import Mariadb

from bench.actors import REGISTRY, Noop, Seen
from bench.following import conductor
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.compose.worker import working
from natsume.connected import connected
from natsume.connecting import connect
from natsume.model.record import Done
from natsume.model.task import State
from natsume.settings import Settings

RECORDS = 30_000
DRAIN = 20_000


@contextmanager
def database(kind: str) -> Iterator[str]:
    """The URL of an empty database."""
    with tempfile.TemporaryDirectory(prefix="natsume-bench-") as folder:
        if kind == "sqlite":
            yield f"sqlite+aiosqlite:///{folder}/ledger.sqlite"
            return
        server = Mariadb(Path(folder))
        yield server.url("ledger")
        server.kill()


async def projecting_sqlite(server: EmbeddedServer) -> dict[str, float]:
    """Done records a second, of untracked and of tracked tasks, from the broker into SQLite."""
    return await _projecting(server, "sqlite")


async def projecting_mariadb(server: EmbeddedServer) -> dict[str, float]:
    """The same into MariaDB."""
    return await _projecting(server, "mariadb")


async def _projecting(server: EmbeddedServer, kind: str) -> dict[str, float]:
    found = {}
    with database(kind) as url:
        settings = Settings(nats_url=server.url, database_url=url)
        engine = engine_of(settings)
        await migrating.migrate(engine)
        await engine.dispose()
        async with connected(settings) as broker:
            for name, consumer, tracked in (("plain", "ledger-plain", False), ("effects", "ledger", True)):
                await _fill(broker, tracked)
                async with conductor(server.url, NATSUME_DATABASE_URL=url):
                    found[name] = await _rate(broker, consumer)
    return found


async def _fill(broker: Broker, tracked: bool) -> None:
    for start in range(0, RECORDS, 1000):
        now = broker.now()
        records = [
            Done(
                os.urandom(16).hex(),
                "bench:Noop",
                State.COMPLETED,
                "n",
                "worker",
                1,
                now,
                now,
                "normal.small",
                now,
                tracked=tracked,
                owner="ada" if tracked else None,
                tenant="lhcb" if tracked else None,
            )
            for _ in range(start, start + 1000)
        ]
        await asyncio.gather(*map(broker.records.commit, records))


async def _rate(broker: Broker, consumer: str) -> float:
    """Records a second, from when a tenth is done to the end."""
    began, first = 0.0, 0
    while left := await _waiting(broker, consumer):
        if left <= 0.9 * RECORDS and not began:
            began, first = time.perf_counter(), left
        await asyncio.sleep(0.01)
    assert began, "it was over before it was looked at"
    return first / (time.perf_counter() - began)


async def _waiting(broker: Broker, consumer: str) -> int:
    info = msgspec.json.decode(await broker.request(f"$JS.API.CONSUMER.INFO.RECORDS.{consumer}", b""))
    return int(info["num_pending"] + info["num_ack_pending"])


async def draining_beside(server: EmbeddedServer) -> dict[str, float]:
    """No-op tasks a second of one worker, with a conductor beside it that projects, and without one."""
    settings = Settings.read({}).at(server.url)
    alone = await _drain(settings)
    async with conductor(server.url), connected(settings) as broker:
        while await _waiting(broker, "ledger-plain"):
            await asyncio.sleep(0.05)
        beside = await _drain(settings)
    return {"alone": alone, "beside": beside, "cores": float(os.cpu_count() or 0)}


async def _drain(settings: Settings) -> float:
    async with connect(settings=settings, registry=REGISTRY) as client:
        await client.submit_many([Noop(number) for number in range(DRAIN)])
    Seen.count = 0
    began = time.perf_counter()
    async with working(settings, REGISTRY):
        while Seen.count < DRAIN:
            await asyncio.sleep(0.002)
        return DRAIN / (time.perf_counter() - began)
