"""What is read from the ledger, over each database, is what a plain search of the rows finds."""

from fnmatch import fnmatchcase

import msgspec
import pytest

from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.adapters.sql.ledger import SqlLedger
from natsume.adapters.sql.reading import SqlReading
from natsume.core.projection import Changes, project
from natsume.model.ledger import Filter, Place
from natsume.model.record import Failure
from natsume.model.task import State
from natsume.model.told import Flag
from natsume.settings import Settings
from recorded import done, failed, settled, started, submitted


def cancelled_at(at: float) -> tuple[str, bytes]:
    return "record.cancel.task.open", msgspec.json.encode(Flag("open", "ada", at, "too slow"))


OWNERS = (None, "ada", "bob", "a%a", "a_a")
ROWS = project(
    [
        done(
            f"t{number:02}",
            State.FAILED if number % 3 == 0 else State.COMPLETED,
            failure=Failure("E", "no") if number % 3 == 0 else None,
            owner=OWNERS[number % 5],
            tenant="lhcb" if number % 2 else None,
            submitted_at=10.0 + number // 2,
            started_at=50.0 + number,
            finished_at=100.0 + number,
        )
        for number in range(40)
    ]
    + [submitted("open"), cancelled_at(20.0)]
).rows
NEWEST = sorted(ROWS, key=lambda row: (row.enqueued_at, row.id), reverse=True)


@pytest.fixture
async def reading(database_url):
    engine = engine_of(Settings(database_url=database_url))
    await migrating.migrate(engine)
    ledger = SqlLedger(engine)
    everything = project([submitted(), started(), failed(), done(attempt=2), settled()])
    await ledger.project(everything, "b", 1)
    await ledger.prune(State.COMPLETED, 1e9, 0)
    yield SqlReading(engine), ledger
    await engine.dispose()


async def test_a_task_with_its_history(reading):
    account = await reading[0].get("t")
    assert [account.row] == project([submitted(), started(), failed(), done(attempt=2), settled()]).rows
    assert [(one.attempt, one.traceback) for one in account.attempts] == [(1, "trace")]
    assert await reading[0].get("unknown") is None


CASES = [
    (Filter(), lambda row: True),
    (Filter(states=(State.FAILED,)), lambda row: row.state is State.FAILED),
    (Filter(states=(State.FAILED, State.ENQUEUED)), lambda row: row.state in {State.FAILED, State.ENQUEUED}),
    (Filter(states=()), lambda row: False),
    (Filter(owners=("ada", "bob")), lambda row: row.owner in {"ada", "bob"}),
    (Filter(owners=()), lambda row: row.owner is None),
    (Filter(owners=("a*a",)), lambda row: row.owner is not None and fnmatchcase(row.owner, "a*a")),
    (Filter(owners=("A*",)), lambda row: False),
    (Filter(owners=("a%a",)), lambda row: row.owner == "a%a"),
    (Filter(owners=("a_*",)), lambda row: row.owner == "a_a"),
    (Filter(owners=("' OR 1=1 --",)), lambda row: False),
    (Filter(ids=("t0*", "open")), lambda row: row.id.startswith("t0") or row.id == "open"),
    (Filter(ids=tuple(f"t{n:02}" for n in range(30))), lambda row: row.id < "t30" and row.id != "open"),
    (Filter(tenants=("lhcb",), owners=("ada",)), lambda row: (row.tenant, row.owner) == ("lhcb", "ada")),
    (Filter(actors=("g:*",), workers=("w2",)), lambda row: row.worker == "w2"),
    (Filter(enqueued_after=15.0, enqueued_before=20.0), lambda row: 15.0 < row.enqueued_at < 20.0),
    (Filter(finished_after=110.0), lambda row: row.finished_at is not None and row.finished_at > 110.0),
    (Filter(cancel_requested=True), lambda row: row.id == "open"),
    (Filter(cancel_requested=False), lambda row: row.id != "open"),
    (Filter(cancel_requested=True, owners=("ada",)), lambda row: row.id == "open"),
    (Filter(consumed=True), lambda row: row.id == "t07"),
    (Filter(consumed=False), lambda row: row.id != "t07"),
    (Filter(consumed=True, tenants=("lhcb",), actors=("g:A",)), lambda row: row.id == "t07"),
    (Filter(tenants=()), lambda row: row.tenant is None),
    (Filter(tenants=(), owners=()), lambda row: row.tenant is None and row.owner is None),
    (Filter(workers=()), lambda row: row.worker is None),
    (Filter(workers=("*2",)), lambda row: row.worker == "w2"),
    (Filter(actors=("*:A",), workers=("W*",)), lambda row: False),
    (Filter(parents=(), joins=(), roots=(), reasons=()), lambda row: True),
    (Filter(started_after=60.0), lambda row: row.started_at is not None and row.started_at > 60.0),
    (Filter(started_before=60.0), lambda row: row.started_at is not None and row.started_at < 60.0),
    (Filter(heartbeat_after=110.0), lambda row: row.heartbeat_at > 110.0),
    (Filter(heartbeat_before=110.0), lambda row: row.heartbeat_at < 110.0),
    (Filter(finished_before=120.0, tenants=("lhcb",)), lambda row: row.tenant and (row.finished_at or 1e9) < 120.0),
]


@pytest.mark.parametrize("case", range(len(CASES)))
async def test_a_filter_finds_what_a_search_finds_page_by_page(reading, case):
    reads, ledger = reading
    await ledger.prune(State.COMPLETED, 1e9, 10)
    await ledger.project(Changes(ROWS, [], []), "b", 1)
    await reads.consume(next(row for row in ROWS if row.id == "t07"))
    wanted, holds = CASES[case]
    found, place = [], None
    while rows := await reads.find(wanted, 7, place):
        found += rows
        place = Place(rows[-1].enqueued_at, rows[-1].id)
    assert [row.id for row in found] == [row.id for row in NEWEST if holds(row)]
