"""A connection to SQLite that is stopped twice ends once, whoever made its engine."""

import asyncio

import pytest

from natsume.adapters.sql.engine import engine_of
from natsume.databases import BaseSQLDB, dispose_engines
from natsume.outbox import engine_at
from natsume.settings import Settings


class EndDB(BaseSQLDB):
    pass


def of_the_ledger(url, _monkeypatch):
    return engine_of(Settings.read({"NATSUME_DATABASE_URL": url}))


def of_an_outbox(url, _monkeypatch):
    return engine_at(url)


def of_tasks(url, monkeypatch):
    monkeypatch.setenv("NATSUME_DB_URL_END_DB", url)
    return EndDB.no_transaction().engine


@pytest.mark.parametrize("made", [of_the_ledger, of_an_outbox, of_tasks])
async def test_a_close_beside_a_stop_ends(made, tmp_path, monkeypatch):
    engine = made(f"sqlite+aiosqlite:///{tmp_path}/x.db", monkeypatch)
    connection = await engine.raw_connection()
    driver = connection.driver_connection
    stopped = driver.stop()
    async with asyncio.timeout(10):
        with pytest.raises(ValueError, match="Connection closed"):
            await driver.close()
        await stopped
    connection.invalidate()
    await engine.dispose()
    await dispose_engines()
