"""What a lost broker costs: how long 100,000 tasks take to come back, and how far the ledger is behind a submission."""

import asyncio
import time

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.actors import REGISTRY, Noop
from bench.following import conductor
from bench.ledger import database
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.adapters.sql.ledger import SqlLedger
from natsume.adapters.sql.schema import tasks
from natsume.compose.worker import working
from natsume.connected import connected
from natsume.connecting import connect
from natsume.core.projection import project
from natsume.model.subject import submitted
from natsume.restoring.restoration import restorer_of
from natsume.service.submission import message_of, submitted_of
from natsume.settings import Settings

TASKS = 100_000
BATCH = 500
SUBMITTED = 3000
PER_S = 300


async def restoring_sqlite(server: EmbeddedServer) -> dict[str, float]:
    """Seconds until 100,000 unfinished tasks of a SQLite ledger lie in an empty broker, with their records."""
    return await _restoring(server, "sqlite")


async def restoring_mariadb(server: EmbeddedServer) -> dict[str, float]:
    """The same from MariaDB."""
    return await _restoring(server, "mariadb")


async def _restoring(server: EmbeddedServer, kind: str) -> dict[str, float]:
    with database(kind) as url:
        settings = Settings(nats_url=server.url, database_url=url)
        engine = engine_of(settings)
        await migrating.migrate(engine)
        await _fill(SqlLedger(engine))
        async with connected(settings) as broker:
            began = time.perf_counter()
            restored = await restorer_of(broker, engine, settings, REGISTRY).once()
            took_s = time.perf_counter() - began
            assert restored is not None
            assert restored.counts.tasks == (await broker.stream_info("TASKS"))["state"]["messages"] == TASKS
        await engine.dispose()
    return {"s": took_s}


async def _fill(ledger: SqlLedger) -> None:
    """Tasks that another broker held."""
    actor, now = REGISTRY.of(Noop), time.time()
    for start in range(0, TASKS, BATCH):
        messages = [message_of(actor, Noop(number), now) for number in range(start, start + BATCH)]
        records = [(submitted(task.id), msgspec.json.encode(submitted_of(task, now))) for task in messages]
        await ledger.project(project(records), "lost", start)


async def ledger_lag(server: EmbeddedServer) -> dict[str, float]:
    """Milliseconds from a tracked submission until its row can be read, at 300 a second, while a worker runs them."""
    found = {}
    for kind in ("sqlite", "mariadb"):
        with database(kind) as url:
            settings = Settings(nats_url=server.url, database_url=url)
            engine = engine_of(settings)
            await migrating.migrate(engine)
            async with conductor(server.url, NATSUME_DATABASE_URL=url), working(settings, REGISTRY):
                lags = sorted(await _lags(settings, engine))
            await engine.dispose()
        found |= {f"{kind}_p50_ms": lags[len(lags) // 2], f"{kind}_p99_ms": lags[len(lags) * 99 // 100]}
    return found


async def _lags(settings: Settings, engine: AsyncEngine) -> list[float]:
    sent: dict[str, float] = {}
    seen: dict[str, float] = {}

    async def submit() -> None:
        began = time.perf_counter()
        async with connect(settings=settings, registry=REGISTRY) as client:
            for number in range(SUBMITTED):
                await asyncio.sleep(max(0.0, began + number / PER_S - time.perf_counter()))
                token = await client.submit(Noop(number), track=True)
                sent[token] = time.perf_counter()

    submitting = asyncio.create_task(submit())
    while not submitting.done() or len(seen) < SUBMITTED:
        missing = [token for token in sent if token not in seen][:500]
        async with engine.connect() as connection:
            for token in (await connection.execute(select(tasks.c.id).where(tasks.c.id.in_(missing)))).scalars():
                seen[token] = time.perf_counter()
        await asyncio.sleep(0.01)
    await submitting
    return [1000 * (seen[token] - at) for token, at in sent.items()]
