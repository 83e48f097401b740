"""A broker that can be emptied, and a ledger that stays."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.adapters.sql.schema import tasks

from . import actors

NATSUME = Path(sys.executable).with_name("natsume")


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
def natsume_command(natsume_settings):
    """Runs a command in a process of its own; its exit code and what it says."""

    async def run(*arguments: str) -> tuple[int, str, str]:
        environ = os.environ | {
            "NATSUME_NATS_URL": natsume_settings.nats_url,
            "NATSUME_DATABASE_URL": natsume_settings.database_url,
        }
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(NATSUME, *arguments, env=environ, stdout=pipe, stderr=pipe)
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    return run


@pytest.fixture
def states(engine):
    async def read() -> dict[str, str]:
        async with engine.connect() as connection:
            return dict(map(tuple, await connection.execute(select(tasks.c.id, tasks.c.state))))

    return read
