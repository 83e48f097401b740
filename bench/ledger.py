"""What the ledger takes: done records into each database by one conductor, and what that costs a worker beside it."""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.private_mariadb import Mariadb

from bench.actors import REGISTRY, Noop, Seen
from bench.following import conductor
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.adapters.sql.reading import SqlReading
from natsume.compose import working
from natsume.connecting import connect, connected
from natsume.core.rights import OPERATOR, Who
from natsume.model.ledger import Filter
from natsume.model.record import Done
from natsume.model.task import State
from natsume.settings import Settings

RECORDS = 30_000
ROWS = 1_000_000
ASKED = 15
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


_NUMBERS = {
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) {select} FROM s",
    "mysql": "{select} FROM (SELECT seq AS n FROM seq_1_to_{rows}) AS s",
}
_HASHES = {"sqlite": "lower(hex(randomblob(16)))", "mysql": "md5(n)"}
_MOMENTS = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', '2026-11-01', '+' || n || ' seconds')",
    "mysql": "'2026-11-01' + INTERVAL n SECOND",
}
_TEXTS = {"sqlite": "'{0}' || (n % {1})", "mysql": "concat('{0}', n % {1})"}
_MIDDLE = 1793491200.0 + ROWS / 2
FILTERS = {
    "all": Filter(),
    "state": Filter(states=(State.FAILED,)),
    "rare_state": Filter(states=(State.RUNNING,)),
    "owner": Filter(owners=("owner7",)),
    "no_owner": Filter(owners=()),
    "actor": Filter(actors=("g:A7",)),
    "actor_and_state": Filter(actors=("g:A7",), states=(State.FAILED,)),
    "owner_and_actor": Filter(owners=("owner7",), actors=("g:A7",)),
    "owner_and_no_such_actor": Filter(owners=("owner7",), actors=("g:None",)),
    "two_tenants": Filter(tenants=("vo1", "vo2"), states=(State.FAILED,)),
    "worker": Filter(workers=("worker7",)),
    "wild_owner": Filter(owners=("owner7*",)),
    "wild_actor": Filter(actors=("*A7",)),
    "wild_nobody": Filter(owners=("*nobody*",)),
    "wild_token": Filter(ids=("*abcd*",)),
    "enqueued": Filter(enqueued_after=_MIDDLE, enqueued_before=_MIDDLE + 100),
    "finished": Filter(finished_after=_MIDDLE, finished_before=_MIDDLE + 100),
    "heartbeat_before": Filter(heartbeat_before=1793491300.0),
    "consumed": Filter(consumed=True),
    "cancel_requested": Filter(cancel_requested=True),
    "rare_label": Filter(labels={"batch": "7"}),
    "common_label": Filter(labels={"kind": "even"}),
    "rare_label_of_an_owner": Filter(labels={"batch": "7"}, owners=("owner7",)),
    "no_such_label": Filter(labels={"batch": "none"}),
}
AS_USER = Who("owner7", ("vo3", "vo4"))
"""Sees some 100,000 of them: asked besides, in whose name a filter is not the operator's."""


async def finding_sqlite(_: EmbeddedServer) -> dict[str, float]:
    """Milliseconds of a page of 100 out of 1,000,000, by filter, in SQLite."""
    return await _finding("sqlite")


async def finding_mariadb(_: EmbeddedServer) -> dict[str, float]:
    """The same in MariaDB."""
    return await _finding("mariadb")


async def _finding(kind: str) -> dict[str, float]:
    found = {}
    with database(kind) as url:
        engine = engine_of(Settings(database_url=url))
        await migrating.migrate(engine)
        await _rows(engine)
        reading = SqlReading(engine)
        asked = [(name, wanted, OPERATOR) for name, wanted in FILTERS.items()]
        asked += [(f"{name}_as_user", wanted, AS_USER) for name, wanted in FILTERS.items()]
        for name, wanted, who in asked:
            times = []
            for _ in range(ASKED):
                began = time.perf_counter()
                await reading.find(wanted, 100, None, who)
                times.append(time.perf_counter() - began)
            found[name] = statistics.median(times) * 1000
        await engine.dispose()
    return found


async def _rows(engine: AsyncEngine) -> None:
    kind = engine.dialect.name
    name, at = _TEXTS[kind].format, _MOMENTS[kind]
    values = {
        "id": _HASHES[kind],
        "step": "1",
        "state": "CASE WHEN n % 100 = 0 THEN 'FAILED' WHEN n % 50021 = 0 THEN 'RUNNING' ELSE 'COMPLETED' END",
        "actor": name("g:A", 50),
        "owner": f"CASE WHEN n % 3 = 0 THEN NULL ELSE {name('owner', 1009)} END",
        "tenant": name("vo", 20),
        "worker": name("worker", 97),
        "consumed": "CASE WHEN n % 10007 = 0 THEN 1 ELSE 0 END",
        "cancel_requested": "CASE WHEN n % 20011 = 0 THEN 1 ELSE 0 END",
        "trace": "n",
        **dict.fromkeys(("enqueued_at", "started_at", "finished_at", "heartbeat_at"), at),
    }
    head = f"INSERT INTO tasks ({', '.join(values)}) "
    select = f"SELECT {', '.join(values.values())}"
    fill = head + _NUMBERS[kind].format(rows=ROWS, select=select)
    async with engine.begin() as connection:
        # One driver takes a percent sign for a parameter.
        await connection.exec_driver_sql(fill if kind == "sqlite" else fill.replace("%", "%%"))
        for label, value, of in (("kind", "'even'", "n % 2 = 0"), ("batch", name("", 2003), "1 = 1")):
            numbered = "(SELECT id, CAST(trace AS SIGNED) AS n FROM tasks) AS numbered"
            fill = f"INSERT INTO labels (task_id, name, value) SELECT id, '{label}', {value} FROM {numbered} WHERE {of}"
            await connection.exec_driver_sql(fill if kind == "sqlite" else fill.replace("%", "%%"))
        await connection.exec_driver_sql("ANALYZE" if kind == "sqlite" else "ANALYZE TABLE tasks, labels")
