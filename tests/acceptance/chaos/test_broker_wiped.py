"""The broker's disk is wiped in a run: what the ledger knew is finished in the end, and all of the outbox."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.adapters.sql.schema import tasks
from natsume.exceptions import NatsumeError
from natsume.model.task import ENDED
from natsume.outbox import create_table
from natsume.settings import Settings
from natsume.testing import until

from .actors import Nap
from .group_installation import ConductorProcess
from .installation import Installation
from .test_outbox_killed import RelayProcess

WIPES = int(os.environ.get("CHAOS_WIPES", "1"))
BETWEEN = int(os.environ.get("CHAOS_BETWEEN", "60"))


@pytest.fixture
async def installation(tmp_path: Path, database_url: str) -> AsyncIterator[Installation]:
    with EmbeddedServer() as server:
        installation = Installation(server, tmp_path, 2.0, NATSUME_DATABASE_URL=database_url)
        try:
            yield await installation.open()
        finally:
            await installation.close()
            server.kill()


@pytest.fixture
async def engine(database_url):
    engine = engine_of(Settings(database_url=database_url))
    await migrating.migrate(engine)
    await create_table(engine)
    yield engine
    await engine.dispose()


class Service:
    """Submits tracked tasks, directly and by its outbox, until it is told to stop."""

    def __init__(self, installation: Installation, engine) -> None:
        self._installation = installation
        self._engine = engine
        self.tracked: set[str] = set()
        self.committed: set[str] = set()
        self.stopped = False

    async def run(self) -> None:
        number = 0
        while not self.stopped:
            number += 1
            try:
                if number % 2:
                    self.tracked.add(await self._installation.client.submit(Nap(number, 0.01), track=True))
                else:
                    await self._transaction(number)
            except (NatsumeError, SQLAlchemyError):  # nothing was promised
                continue
            await asyncio.sleep(0.005)

    async def _transaction(self, number: int) -> None:
        async with AsyncSession(self._engine) as session:
            token = await self._installation.client.submit(Nap(number, 0.01), session=session)
            await session.commit()
            self.committed.add(token)


async def states(engine) -> dict[str, str]:
    async with engine.connect() as connection:
        return dict(map(tuple, await connection.execute(select(tasks.c.id, tasks.c.state))))


async def test_what_the_ledger_knew_is_finished(installation: Installation, engine, database_url: str):
    conductors = [ConductorProcess(installation.environment(), installation.folder / f"c{n}.log") for n in range(2)]
    relay = RelayProcess(installation, database_url, 0)
    for one in conductors:
        await one.ready()
    await installation.start_worker(4).ready()
    service = Service(installation, engine)
    serving = asyncio.create_task(service.run())
    known: set[str] = set()
    over: dict[str, int] = {}
    try:
        for _ in range(WIPES):
            enough = len(service.tracked) + BETWEEN
            await until(lambda enough=enough: len(service.tracked) > enough, within_s=60)
            found = await states(engine)
            known |= set(found)
            starts = installation.journal.starts()
            over |= {token: starts[token] for token, state in found.items() if state in ENDED}
            await asyncio.to_thread(wipe, installation.server)
        enough = len(service.tracked) + BETWEEN
        await until(lambda: len(service.tracked) > enough, within_s=60)
        service.stopped = True
        await serving
        wanted = known | service.committed

        async def unfinished() -> list[str]:
            found = await states(engine)
            return [token for token in wanted if found.get(token) != "COMPLETED"][:5]

        await until(unfinished, lambda left: not left, within_s=60)
        starts = installation.journal.starts()
        assert {token: starts[token] for token in over} == over
        lost = service.tracked - set(await states(engine))
        print(f"{len(known)} known, {len(service.committed)} of the outbox, {len(lost)} lost in the window")
    finally:
        serving.cancel()
        for process in (*conductors, relay):
            if process.alive:
                await process.kill()


def wipe(server: EmbeddedServer) -> None:
    server.kill()
    shutil.rmtree(server.store_dir / "jetstream")
    server.start()
