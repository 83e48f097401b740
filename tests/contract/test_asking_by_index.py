"""No question to the ledger reads the whole table: what each database says that it will do."""

import json
from typing import Any

import pytest
from sqlalchemy import Select, event, text

from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.adapters.sql.ledger import SqlLedger
from natsume.adapters.sql.reading import SqlReading, page
from natsume.core.projection import Changes, project
from natsume.core.rights import OPERATOR, Who
from natsume.model.ledger import Filter, Place
from natsume.model.record import Failure
from natsume.model.task import State
from natsume.settings import Settings
from recorded import done

COUNT = 4000
QUESTIONS = {
    "all": Filter(),
    "state": Filter(states=(State.FAILED,)),
    "owner": Filter(owners=("u7",)),
    "tenant": Filter(tenants=("vo3",)),
    "actor": Filter(actors=("g:A",)),
    "worker": Filter(workers=("w2",)),
    "parent": Filter(parents=("p1",)),
    "root": Filter(roots=("r1",)),
    "join": Filter(joins=("j1",)),
    "reason": Filter(reasons=("exhausted",)),
    "token": Filter(ids=("t7", "t8")),
    "consumed": Filter(consumed=True),
    "cancelled": Filter(cancel_requested=True),
    "rare label": Filter(labels={"kind": "rare"}),
    "common label": Filter(labels={"kind": "common"}),
    "wild owner": Filter(owners=("u7*",)),
    "finished": Filter(finished_after=3000.0, finished_before=3010.0),
    "no owner": Filter(owners=()),
    "no join": Filter(joins=()),
    "tenant and actor": Filter(tenants=("vo3",), actors=("g:A",)),
    "tenant and workers": Filter(tenants=("vo3",), workers=("w", "w2")),
    "actor, reason and no parent": Filter(actors=("g:A",), reasons=("exhausted",), parents=()),
    "tenant and heartbeat": Filter(tenants=("vo3",), heartbeat_before=100.0),
}


@pytest.fixture
async def reading(database_url):
    engine = engine_of(Settings(database_url=database_url))
    await migrating.migrate(engine)
    rows = project(
        [
            done(
                f"t{number}",
                State.FAILED if number % 50 == 0 else State.COMPLETED,
                failure=Failure("E", "no") if number % 50 == 0 else None,
                owner=f"u{number % 97}",
                tenant=f"vo{number % 20}",
                parent=f"p{number % 400}",
                root=f"r{number % 200}",
                join=f"j{number % 300}",
                member=number,
                labels={"kind": "rare" if number % 1999 == 0 else "common"},
                submitted_at=float(number),
                started_at=float(number),
                finished_at=float(number),
            )
            for number in range(COUNT)
        ]
    ).rows
    ledger = SqlLedger(engine)
    for at in range(0, COUNT, 500):
        await ledger.project(Changes(rows[at : at + 500], [], []), "b", at + 1)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("ANALYZE TABLE tasks, labels" if engine.dialect.name == "mysql" else "ANALYZE")
    yield SqlReading(engine)
    await engine.dispose()


async def whole_tables(reading: SqlReading, wanted: Filter, who: Who) -> list[str]:
    """The steps of the statements of one question that read all rows of a table."""
    asked: list[tuple[str, object]] = []
    event.listen(reading.engine.sync_engine, "before_cursor_execute", lambda *said: asked.append((said[2], said[3])))
    await reading.find(wanted, 100, None, who)
    statements = [(sql, values) for sql, values in asked if "tasks" in sql or "labels" in sql]
    assert statements
    found = []
    async with reading.engine.connect() as connection:
        for sql, values in statements:
            if connection.dialect.name == "sqlite":
                plan = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)).all()
                found += [step[3] for step in plan if step[3].startswith(("SCAN tasks", "SCAN labels"))]
            else:
                (plan,) = (await connection.exec_driver_sql(f"EXPLAIN FORMAT=JSON {sql}", values)).scalars()
                found += [str(table) for table in tables(json.loads(plan)) if table["access_type"] in {"ALL", "index"}]
    return found


def tables(plan: object) -> list[dict]:
    """All accesses to tables of ours in a plan, however deep."""
    if isinstance(plan, list):
        return [table for one in plan for table in tables(one)]
    if not isinstance(plan, dict):
        return []
    inner = [table for one in plan.values() for table in tables(one)]
    return [plan, *inner] if str(plan.get("table_name")).startswith(("tasks", "labels")) else inner


@pytest.mark.parametrize("name", QUESTIONS)
async def test_a_question_is_answered_from_an_index(reading, name):
    assert await whole_tables(reading, QUESTIONS[name], OPERATOR) == []
    assert await whole_tables(reading, QUESTIONS[name], Who("u7", ("vo3", "vo4"))) == []


async def test_a_statement_without_an_index_would_be_seen(reading):
    async with reading.engine.connect() as connection:
        sql = "SELECT id FROM tasks WHERE trace = 'x'"
        if connection.dialect.name == "sqlite":
            plan = (await connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"))).all()
            assert [step[3] for step in plan] == ["SCAN tasks"]
        else:
            (plan,) = (await connection.execute(text(f"EXPLAIN FORMAT=JSON {sql}"))).scalars()
            assert [table["access_type"] for table in tables(json.loads(plan))] == ["ALL"]


@pytest.mark.parametrize("name", ["consumed", "cancel_requested"])
async def test_the_few_that_are_flagged_lie_together(reading, name):
    async with reading.engine.connect() as connection:
        statement = page(Filter(**{name: True}), 100, None).compile(
            connection.engine, compile_kwargs={"literal_binds": True}
        )
        rows = (
            await connection.execute(
                text(f"EXPLAIN {'QUERY PLAN ' * (connection.dialect.name == 'sqlite')}{statement}")
            )
        ).all()
    assert str(rows).count(f"tasks_{name}") >= len(State)


@pytest.mark.parametrize(("value", "count"), [("rare", 3), ("common", 100), ("none", 0)])
async def test_labels_find_tasks_for_those_who_may_see_them(reading, value, count):
    wanted = Filter(labels={"kind": value})
    assert len(await reading.find(wanted, 100)) == count
    found = await reading.find(wanted, 100, None, Who("u0"))
    assert {row.owner for row in found} <= {"u0"}
    assert len(found) == {"rare": 1, "common": 41, "none": 0}[value]
    both = Filter(labels={"kind": value, "other": "x"})
    assert await reading.find(both, 100) == []


USER = Who("nobody", ("vo3", "vo4"))
WALKED = {
    "wild token": (Filter(ids=("*00*",)), OPERATOR),
    "wild token as user": (Filter(ids=("*00*",)), USER),
    "wild owner as user": (Filter(owners=("*nobody*",)), USER),
    "common label": (Filter(labels={"kind": "common"}), OPERATOR),
    "common label as user": (Filter(labels={"kind": "common"}), USER),
    "no root as user": (Filter(roots=(), reasons=("exhausted",)), USER),
}


@pytest.mark.parametrize("name", WALKED)
@pytest.mark.parametrize("after", [None, Place(3000.0, "x")])
async def test_what_is_compared_one_by_one_is_compared_where_it_lies(reading, name, after):
    wanted, who = WALKED[name]
    steps = await plan(reading, page(wanted, 100, after, who))
    walked = [step for step in steps if "first" in step and ("tasks_state" in step or "tasks_tenant" in step)]
    where = "COVERING INDEX" if reading.engine.dialect.name == "sqlite" else "index_condition"
    assert len(walked) >= len(State)
    assert [step for step in walked if where not in step] == []


async def plan(reading: SqlReading, statement: Select[Any]) -> list[str]:
    """What a database says of each of its accesses to tasks."""
    async with reading.engine.connect() as connection:
        told = str(statement.compile(connection.engine, compile_kwargs={"literal_binds": True}))
        if connection.dialect.name == "sqlite":
            return [step[3] for step in (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {told}")).all()]
        (said,) = (await connection.execute(text(f"EXPLAIN FORMAT=JSON {told}"))).scalars()
    return [str(one) for one in tables(json.loads(said))]
