"""A broker that can be emptied, and a ledger that stays."""

import shutil

import msgspec
import pytest
from sqlalchemy import select

from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.adapters.sql.schema import tasks

from . import actors


@pytest.fixture(autouse=True)
def natsume_registry(monkeypatch):
    monkeypatch.setattr(actors.Tally, "broken", False)
    actors.RUNS.clear()
    actors.Kept.failed.clear()
    return actors.ALL


@pytest.fixture
def natsume_settings(natsume_settings, database_url):
    return msgspec.structs.replace(natsume_settings, database_url=database_url)


@pytest.fixture
async def engine(natsume_settings):
    engine = engine_of(natsume_settings)
    await migrating.migrate(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
def wipe(natsume_server):
    """Kill the broker and start it with an empty store."""

    def wipe() -> None:
        natsume_server.kill()
        shutil.rmtree(natsume_server.store_dir / "jetstream")
        natsume_server.start()

    return wipe


@pytest.fixture
def states(engine):
    async def read() -> dict[str, str]:
        async with engine.connect() as connection:
            return dict(map(tuple, await connection.execute(select(tasks.c.id, tasks.c.state))))

    return read
