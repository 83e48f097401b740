"""What is looked for by several values is found, whenever each was told, and also in a ledger of an earlier version."""

import pytest
from sqlalchemy import text

from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.adapters.sql.ledger import SqlLedger
from natsume.adapters.sql.reading import SqlReading
from natsume.core.projection import Changes, project
from natsume.core.rights import OPERATOR, Who
from natsume.model.ledger import Filter
from natsume.model.task import State
from natsume.settings import Settings
from recorded import done, started, submitted

WANTED = Filter(owners=("ada",), actors=("g:A",), workers=("w2",), roots=(), labels={"a": "b"})
OTHERS = (
    Filter(owners=("ada",), actors=("g:B",)),
    Filter(actors=("g:A",), workers=("w3",)),
    Filter(actors=("g:A",), workers=()),
    Filter(actors=("g:A",), labels={"a": "c"}),
)
WHOS = (OPERATOR, Who("ada"), Who("eve", ("lhcb", "atlas")))


@pytest.fixture
async def engine(database_url):
    engine = engine_of(Settings(database_url=database_url))
    await migrating.migrate(engine)
    ledger = SqlLedger(engine)
    for at, record in enumerate((submitted(), started(), done(state=State.COMPLETED))):
        await ledger.project(Changes(project([record]).rows, [], []), "b", at + 1)
    yield engine
    await engine.dispose()


async def found(engine, wanted):
    return [[row.id for row in await SqlReading(engine).find(wanted, 9, None, who)] for who in WHOS]


async def test_what_several_records_tell_of_a_task_finds_it(engine):
    assert await found(engine, WANTED) == [["t"]] * len(WHOS)
    for other in OTHERS:
        assert await found(engine, other) == [[]] * len(WHOS)


async def test_tasks_of_an_earlier_version_are_found(engine):
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE tasks SET traits = 0, label_traits = 0"))
        await connection.execute(text(f"UPDATE {migrating.VERSION_TABLE} SET version_num = '0003'"))
    both = Filter(actors=("g:A",), workers=("w2",))
    assert await found(engine, both) == [[]] * len(WHOS)
    await migrating.migrate(engine)
    assert await found(engine, both) == await found(engine, WANTED) == [["t"]] * len(WHOS)


async def test_a_task_of_which_only_the_end_was_seen_is_found(engine):
    (row,) = project([done("u", owner="ada", tenant="lhcb")]).rows
    reading = SqlReading(engine)
    await reading.consume(row)
    wanted = Filter(owners=("ada",), actors=("g:A",), consumed=True)
    assert [[one.id for one in await reading.find(wanted, 9, None, who)] for who in WHOS] == [["u"]] * len(WHOS)
