"""A broker, a database for the ledger, and what stands in it."""

import msgspec
import pytest
from sqlalchemy import select

from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.adapters.sql.schema import tasks
from natsume.exceptions import LedgerError

from . import actors


@pytest.fixture
def natsume_registry():
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
def rows(engine):
    """All tasks by id, as mappings."""

    async def read():
        try:
            async with engine.connect() as connection:
                return {row["id"]: row for row in (await connection.execute(select(tasks))).mappings()}
        except LedgerError as error:
            raise AssertionError(str(error)) from None

    return read
