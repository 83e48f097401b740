"""The database is away, frozen or full of others' writing: tasks go on, and every row comes in the end."""

import logging
import sqlite3

import msgspec
import pytest

from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.compose.conductor import conducting
from natsume.model import times
from natsume.testing import until

from .actors import Double


@pytest.fixture
def short_patience(monkeypatch):
    monkeypatch.setattr(times, "LEDGER_COMMIT_S", 1.0)


async def all_stand(rows, tokens) -> None:
    def whole(found):
        return found.keys() == set(tokens) and {row["state"] for row in found.values()} == {"COMPLETED"}

    found = await until(rows, whole, within_s=40)
    assert all(found[token]["result"] == str(2 * number) for number, token in enumerate(tokens))


async def run_some(client, count: int, offset: int) -> list[str]:
    tokens = [await client.submit(Double(offset + number), track=number % 2 == 0) for number in range(count)]
    for token in tokens:
        await client.result(token)
    return tokens


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
async def test_a_killed_and_a_frozen_server(
    natsume_client, natsume_worker, natsume_conductor, rows, mariadb, short_patience, caplog
):
    caplog.set_level(logging.WARNING)
    tokens = await run_some(natsume_client, 20, 0)
    await all_stand(rows, tokens)
    mariadb.kill()
    try:
        tokens += await run_some(natsume_client, 20, 20)
        await until(lambda: "the ledger waits" in caplog.text)
    finally:
        mariadb.start()
    tokens += await run_some(natsume_client, 20, 40)
    await all_stand(rows, tokens)
    mariadb.freeze()
    try:
        tokens += await run_some(natsume_client, 20, 60)
        await until(lambda: "did not answer" in caplog.text)
    finally:
        mariadb.thaw()
    await all_stand(rows, tokens)
    assert "the ledger goes on" in caplog.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_file_that_another_process_writes(
    natsume_client, natsume_worker, natsume_conductor, rows, database_url, caplog
):
    tokens = await run_some(natsume_client, 20, 0)
    await all_stand(rows, tokens)
    other = sqlite3.connect(database_url.partition("///")[2], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    tokens += await run_some(natsume_client, 20, 20)
    await until(lambda: "locked" in caplog.text)
    other.execute("ROLLBACK")
    other.close()
    await all_stand(rows, tokens)


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
async def test_a_database_that_comes_later(natsume_client, natsume_worker, natsume_settings, caplog):
    async with conducting(natsume_settings):
        token = await natsume_client.submit(Double(1))
        await natsume_client.result(token)
        await until(lambda: "run `natsume migrate`" in caplog.text)
        engine = engine_of(natsume_settings)
        await migrating.migrate(engine)
        await until(lambda: "the ledger goes on" in caplog.text)
        await engine.dispose()


async def test_what_the_database_will_never_take_holds_up_nothing(
    natsume_broker, natsume_client, natsume_worker, natsume_conductor, rows, caplog
):
    name = "record.started.1.forged"
    huge = {"id": "forged", "actor": "g:A", "attempt": 10**30, "worker": "w", "at": 1.0}
    broken = b"no record at all"
    await natsume_broker.publisher.publish(name.encode(), b"", msgspec.json.encode(huge))
    await natsume_broker.publisher.publish(b"record.failed.1.broken", b"", broken)
    tokens = await run_some(natsume_client, 10, 0)
    await all_stand(rows, tokens)
    await until(lambda: "is not in the ledger" in caplog.text or "cannot be read" in caplog.text)
    info = await natsume_broker.request("$JS.API.CONSUMER.INFO.RECORDS.ledger", b"")
    await until(lambda: msgspec.json.decode(info)["num_pending"] == 0)


async def test_several_conductors_make_one_ledger(natsume_client, natsume_worker, natsume_settings, rows, engine):
    async with conducting(natsume_settings), conducting(natsume_settings):
        tokens = await natsume_client.submit_many([Double(number) for number in range(300)])
        for token in tokens:
            await natsume_client.result(token)
        await all_stand(rows, tokens)
