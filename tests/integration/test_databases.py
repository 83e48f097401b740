"""A task's database: one transaction, committed with the task's success."""

import pytest
from sqlalchemy import text

from natsume.actors.inject import make_plan
from natsume.databases import BaseSQLDB, dispose_engines
from natsume.exceptions import MissingDependency, UsageError


class JobParametersDB(BaseSQLDB):
    pass


class Pilots(BaseSQLDB):
    name = "pilot-agents"


async def execute(self, db: JobParametersDB):
    await db.conn.execute(text("insert into t values (1)"))


PLAN = make_plan("g:Task", execute)


@pytest.fixture
async def database(tmp_path, monkeypatch):
    monkeypatch.setenv("NATSUME_DB_URL_JOB_PARAMETERS_DB", f"sqlite+aiosqlite:///{tmp_path}/x.db")
    async with JobParametersDB.transaction() as db:
        await db.conn.execute(text("create table t (n int)"))
    yield JobParametersDB
    await dispose_engines()


async def count(database):
    async with database.transaction() as db:
        return (await db.conn.execute(text("select count(*) from t"))).scalar()


async def test_success_commits(database):
    async with PLAN.open({}) as arguments:
        await execute(None, **arguments)
    assert await count(database) == 1


async def test_failure_rolls_back(database):
    with pytest.raises(ValueError, match="no"):  # noqa: PT012
        async with PLAN.open({}) as arguments:
            await execute(None, **arguments)
            raise ValueError("no")
    assert await count(database) == 0


async def test_transactions_by_hand(database):
    db = database.no_transaction()
    with pytest.raises(UsageError, match="no open transaction"):
        db.conn  # noqa: B018
    for _ in range(2):
        async with db:
            await db.conn.execute(text("insert into t values (1)"))
    assert await count(database) == 2


async def test_one_engine_with_sqlites_pragmas(database):
    first, second = database.no_transaction(), database.no_transaction()
    assert first.engine is second.engine
    async with first:
        assert (await first.conn.execute(text("pragma journal_mode"))).scalar() == "wal"
        assert (await first.conn.execute(text("pragma busy_timeout"))).scalar() == 30000


async def test_the_variable_to_set_is_named(monkeypatch):
    assert Pilots.url_variable() == "NATSUME_DB_URL_PILOT_AGENTS"
    assert PLAN.missing({}) == ["g:Task needs JobParametersDB: set NATSUME_DB_URL_JOB_PARAMETERS_DB"]
    with pytest.raises(MissingDependency, match="NATSUME_DB_URL_PILOT_AGENTS is not set"):
        Pilots.no_transaction()
    monkeypatch.setenv("NATSUME_DB_URL_PILOT_AGENTS", "secret nonsense")
    with pytest.raises(MissingDependency, match="is no URL") as error:
        Pilots.no_transaction()
    assert "secret" not in str(error.value)
