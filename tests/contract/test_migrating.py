"""The schema that migrating makes, over each database."""

import asyncio
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import AsyncEngine

from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.adapters.sql.ledger import SqlLedger
from natsume.adapters.sql.schema import metadata, tasks
from natsume.exceptions import LedgerError
from natsume.model import times
from natsume.settings import Settings


@pytest.fixture
async def engine(database_url):
    engine = engine_of(Settings(database_url=database_url))
    yield engine
    await engine.dispose()


async def test_migrating_makes_the_schema_of_the_code_once(engine, database_url):
    others = [engine_of(Settings(database_url=database_url)) for _ in range(3)]
    await asyncio.gather(*map(migrating.migrate, [engine, *others]))
    for one in others:
        await one.dispose()
    assert await migrating.migrate(engine) == (migrating.HEAD, migrating.HEAD)

    def differences(connection: Connection) -> list[object]:
        options = {"version_table": migrating.VERSION_TABLE}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    async with engine.begin() as connection:
        assert await connection.run_sync(differences) == []
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert {*names} == {*metadata.tables, migrating.VERSION_TABLE}


async def test_only_sqlite_is_migrated_without_being_asked(engine):
    ledger = SqlLedger(engine)
    if engine.dialect.name == "sqlite":
        await ledger.prepare()
        assert await migrating.revision(engine) == migrating.HEAD
        return
    with pytest.raises(LedgerError, match="natsume migrate"):
        await ledger.prepare()
    await migrating.migrate(engine)
    await ledger.prepare()


async def test_the_head_is_the_newest_revision():
    assert ScriptDirectory(str(migrating._SCRIPTS)).get_current_head() == migrating.HEAD


async def test_a_migration_takes_the_time_that_it_takes(engine, monkeypatch):
    upgrade = migrating._upgrade

    def of_many_rows(connection: Connection) -> None:
        upgrade(connection)
        time.sleep(1.0)  # a million rows get their indexes

    monkeypatch.setattr(migrating, "_upgrade", of_many_rows)
    monkeypatch.setattr(times, "LEDGER_COMMIT_S", 0.9)
    assert await migrating.migrate(engine) == (None, migrating.HEAD)
    assert await migrating.revision(engine) == migrating.HEAD


async def test_the_indexes_that_a_killed_migration_removed_are_made(engine):
    await migrating.migrate(engine)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"UPDATE {migrating.VERSION_TABLE} SET version_num = '0003'")
        await connection.exec_driver_sql(f"DROP INDEX tasks_worker{' ON tasks' * (engine.dialect.name == 'mysql')}")
    await migrating.migrate(engine)
    async with engine.connect() as connection:
        there = await connection.run_sync(lambda sync: {one["name"] for one in inspect(sync).get_indexes("tasks")})
    assert {index.name for index in tasks.indexes} <= there


async def test_indexes_that_are_walked_far_have_the_newest_first_but_in_sqlite(engine):
    await migrating.migrate(engine)
    newest_first = [] if engine.dialect.name == "sqlite" else sorted(["enqueued_at", "id"] * 2)
    assert await descending(engine) == newest_first
    async with engine.begin() as connection:
        for index in tasks.indexes:
            await connection.run_sync(index.drop)
            await connection.run_sync(index.create)
    assert await descending(engine) == newest_first
    if newest_first:  # one is of the earlier version, and of the other a killed migration has left nothing
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"UPDATE {migrating.VERSION_TABLE} SET version_num = '0004'")
            await connection.exec_driver_sql("DROP INDEX tasks_state ON tasks")
            await connection.exec_driver_sql("DROP INDEX tasks_tenant ON tasks")
            await connection.exec_driver_sql("CREATE INDEX tasks_state ON tasks (state, enqueued_at, id)")
        await migrating.migrate(engine)
        assert await descending(engine) == newest_first


async def descending(engine: AsyncEngine) -> list[str]:
    """The columns that an index of tasks has highest first."""
    asked = {
        "sqlite": "SELECT x.name FROM pragma_index_list('tasks') AS i, pragma_index_xinfo(i.name) AS x WHERE x.desc",
        "mysql": "SELECT column_name FROM information_schema.statistics WHERE table_schema = DATABASE()"
        " AND table_name = 'tasks' AND collation = 'D'",
    }
    async with engine.connect() as connection:
        return sorted((await connection.exec_driver_sql(asked[engine.dialect.name])).scalars())
