"""The ledger over each database does what the rows' own merging does (port Ledger)."""

import asyncio
import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
from msgspec import Raw
from msgspec.structs import replace
from sqlalchemy import func, insert, select

from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.adapters.sql.families import SqlFamilies
from natsume.adapters.sql.ledger import SqlLedger
from natsume.adapters.sql.remains import SqlEpochs, SqlRemains
from natsume.adapters.sql.schema import attempts, comments, epochs, joins, tasks
from natsume.core.join import Join
from natsume.core.projection import Changes, project
from natsume.exceptions import LedgerError
from natsume.model import limits
from natsume.model.ledger import Attempt, Row
from natsume.model.record import Child, Failure, Group, Letter, child_id
from natsume.model.task import Reason, State
from natsume.settings import Settings
from recorded import commented, done, failed, flagged, heartbeat, progressed, settled, started, submitted


@pytest.fixture
async def engine(database_url):
    engine = engine_of(Settings(database_url=database_url))
    yield engine
    await engine.dispose()


@pytest.fixture
async def ledger(engine):
    await migrating.migrate(engine)
    return SqlLedger(engine)


async def rows_of(engine) -> list[Row]:
    async with engine.begin() as connection:
        found = (await connection.execute(select(tasks).order_by(tasks.c.id))).mappings().all()
    return [
        Row(**{name: _plain(name, row[name]) for name in Row.__struct_fields__} | {"state": State(row["state"])})
        for row in found
    ]


def _plain(name, value):
    return value.timestamp() if isinstance(value, datetime) else value


async def count(engine, table) -> int:
    async with engine.begin() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


DEAD = Letter(Reason.EXHAUSTED, "s", b"\xff", "h")
HISTORY = [
    submitted(),
    started(crashes=1),
    progressed(),
    heartbeat(),
    commented(),
    flagged(),
    failed(),
    started(2, 20.0),
    failed(2, 30.5),
    done(
        attempt=3,
        state=State.FAILED,
        failure=Failure("E", "ö🦆\x00"),
        letter=DEAD,
    ),
]


@pytest.mark.parametrize("seed", range(5))
async def test_any_order_and_repetition_gives_the_rows_of_the_core(ledger, engine, seed):
    shuffled = HISTORY * 2
    random.Random(seed).shuffle(shuffled)
    for at in range(0, len(shuffled), 3):
        await ledger.project(project(shuffled[at : at + 3]), "b", at)
    assert await rows_of(engine) == project(HISTORY).rows
    assert await count(engine, attempts) == 3
    assert await count(engine, comments) == 2


async def test_a_state_that_is_seen_late_does_not_go_back(ledger, engine):
    for record in reversed(HISTORY):
        await ledger.project(project([record]), "b", 1)
        assert (await rows_of(engine))[0].state is State.FAILED
    assert await rows_of(engine) == project(HISTORY).rows


async def test_several_write_at_once(ledger, engine, database_url):
    others = [SqlLedger(engine_of(Settings(database_url=database_url))) for _ in range(3)]
    batches = [project([done(f"t{number}-{place}") for place in range(40)]) for number in range(10)]

    async def write(one: SqlLedger) -> None:
        for at, batch in enumerate(batches):
            while True:
                try:
                    await one.project(batch, "b", at)
                    break
                except LedgerError as error:
                    if error.refused:
                        raise

    await asyncio.gather(*map(write, [ledger, *others]))
    for one in others:
        await one.close()
    assert await count(engine, tasks) == 400


async def test_each_broker_is_an_epoch_and_its_position_only_grows(ledger, engine):
    for broker in ("one", "two"):
        await SqlEpochs(engine).meet(broker)
    for broker, sequence in (("one", 5), ("one", 3), ("two", 1), ("one", 9)):
        await ledger.project(Changes([], [], []), broker, sequence)
    async with engine.begin() as connection:
        found = (await connection.execute(select(epochs.c.number, epochs.c.broker, epochs.c.sequence))).all()
    assert sorted(map(tuple, found)) == [(1, "one", 9), (2, "two", 1)]


async def test_a_broker_that_was_lost_before_anybody_looked_at_it_was_the_first(ledger, engine):
    await ledger.project(project([submitted("a")]), "one", 1)
    assert not (await SqlEpochs(engine).meet("two")).restored
    assert [[one.row.id for one in page] async for page in SqlRemains(engine).unfinished(2)] == [["a"]]


async def test_an_end_is_rebuilt_with_its_own_traceback_and_not_that_of_an_earlier_attempt(ledger, engine):
    late, broken = Letter(Reason.EXPIRED, "s", b"{}"), Letter(Reason.EXHAUSTED, "s", b"{}")
    told = {"state": State.FAILED, "attempt": 2, "finished_at": 95.0}
    expired = done("t", **told, started_at=95.0, failure=Failure("Expired", "too late"), letter=late)
    ran = done("u", **told, started_at=94.0, failure=Failure("E", "no", "its own"), letter=broken)
    await ledger.project(project([submitted(), failed(), expired, ran]), "b", 1)
    found = [one async for page in SqlRemains(engine).ended(2, 1e9) for one in page]
    assert {one.row.id: (one.row.error, one.row.attempts, one.traceback) for one in found} == {
        "t": ("Expired", 1, ""),
        "u": ("E", 2, "its own"),
    }


async def test_of_two_brokers_that_are_met_at_once_one_is_the_first(ledger, engine):
    both = (ledger.project(project([submitted(name)]), name, 1) for name in ("one", "two"))
    told = await asyncio.gather(*both, return_exceptions=True)
    assert [type(one) for one in told].count(type(None)) >= 1
    async with engine.begin() as connection:
        found = (await connection.execute(select(epochs.c.number))).scalars().all()
    assert found == [1]


async def test_what_the_database_will_never_take_is_refused(ledger, engine):
    (row,) = project([done()]).rows
    with pytest.raises(LedgerError) as refused:
        await ledger.project(Changes([replace(row, attempts=10**30)], [], []), "b", 1)
    assert refused.value.refused
    assert await count(engine, tasks) == 0


async def test_ended_are_those_whose_records_may_go(ledger):
    dead = Letter(Reason.EXHAUSTED, "s", b"{}", "h")
    failure = Failure("E", "no")
    records = [
        done("done"),
        done("dead", State.FAILED, failure=failure, letter=dead),
        done("replayed", State.FAILED, failure=failure, letter=dead),
        settled("replayed"),
        done("hopeless", State.FAILED, failure=failure, discarded=True),
        submitted("open"),
        done("member", join="fired", member=0),
        done(child_id("fired", "callback")),
        done("early", join="waiting", member=0),
    ]
    await ledger.project(project(records), "b", 1)
    asked = ["done", "dead", "replayed", "hopeless", "open", "member", "early", "unknown"]
    assert await ledger.ended(asked) == {"done", "replayed", "hopeless", "member"}


async def test_members_are_read_until_the_last_replay_of_their_callback_has_ended(ledger):
    callback, failure = child_id("j", "callback"), Failure("E", "no")
    dead = {"failure": failure, "letter": Letter(Reason.EXHAUSTED, "s", b"{}", "h")}
    steps = [
        ([done("m", join="j", member=0), done(callback, State.FAILED, **dead)], set()),
        ([settled(callback)], set()),
        ([done("replay", State.FAILED, **dead)], set()),
        ([settled("replay", replayed=False)], {"m"}),
    ]
    for at, (records, over) in enumerate(steps):
        await ledger.project(project(records), "b", at)
        assert await ledger.ended({"m"}) == over


async def test_nobody_needs_a_join_whose_callbacks_have_ended_and_whose_parent_nobody_reads(ledger):
    call = Child("c", "g:A", "normal.small", Raw(b"{}"))
    alarm = replace(call, id="alarm")
    plain = Join("j", "p", 0, 1, call, 1.0)
    told = replace(plain, id="told", on_failure=alarm, failure_told=True)
    inner = replace(plain, id="inner", parent="m")
    elsewhere = replace(plain, id="elsewhere", parent="nobody", callback=replace(call, id="nowhere"))
    asked = [plain, replace(told, id="untold", failure_told=False), told, inner, elsewhere]
    await ledger.project(project([done("p"), done("m", join="outer", member=0)]), "b", 1)
    known = {"j": False, "untold": False, "told": False, "inner": False}
    assert await ledger.done_with(asked) == known
    await ledger.project(project([done("c")]), "b", 2)
    assert await ledger.done_with(asked) == known | {"j": True, "untold": True}
    await ledger.project(project([done("alarm"), done(child_id("outer", "callback"))]), "b", 3)
    assert await ledger.done_with(asked) == dict.fromkeys(known, True)
    assert await ledger.done_with([]) == {}


async def test_a_family_is_who_follows_and_has_not_ended(ledger, engine, monkeypatch):
    monkeypatch.setattr(limits, "RESTORE_PAGE", 2)
    monkeypatch.setattr(limits, "LOOK_UP_MAX", 1)
    now = started(parent="father", root="father")
    waiting = [Child(f"c{number}", "g:A", "normal.small", Raw(b"{}")) for number in range(5)]
    records = [
        now,
        done("mother", children=tuple(waiting)),
        done("c3", parent="mother"),
        done("other", parent="mother"),
    ]
    await ledger.project(project(records), "b", 1)
    found = [pair async for page in SqlFamilies(engine).unfinished(["father", "mother", "nobody"]) for pair in page]
    assert found == [("t", "father"), *((f"c{number}", "mother") for number in (0, 1, 2, 4))]


async def test_pruning_takes_the_old_of_a_state_with_all_that_is_theirs(ledger, engine):
    failure = Failure("E", "no")
    records = [done(f"t{number}", finished_at=100.0 + number) for number in range(5)]
    records += [done("bad", State.FAILED, failure=failure), submitted("open")]
    await ledger.project(project(records), "b", 1)
    async with engine.begin() as connection:
        said = {"key": "k", "at": datetime.now(UTC), "author": "ada", "text": "hm"}
        await connection.execute(insert(comments), [{"task_id": "t0", **said}, {"task_id": "bad", **said}])
    assert await ledger.prune(State.COMPLETED, 103.0, 2) == 2
    assert await ledger.prune(State.COMPLETED, 103.0, 2) == 1
    assert await ledger.prune(State.COMPLETED, 103.0, 2) == 0
    assert [row.id for row in await rows_of(engine)] == ["bad", "open", "t3", "t4"]
    assert (await count(engine, comments), await count(engine, attempts)) == (1, 1)


async def test_members_stay_until_the_callback_of_their_join_goes(ledger, engine):
    callback = child_id("j", "callback")
    group = Group("j", 2, 0, Child(callback, "g:A", "normal.small", Raw(b"{}")))
    records = [done("p", groups=(group,), finished_at=50.0), done("m", join="j", member=0, finished_at=100.0)]
    await ledger.project(project(records), "b", 1)
    assert await count(engine, joins) == 1
    assert await ledger.prune(State.COMPLETED, 200.0, 9) == 1
    assert [row.id for row in await rows_of(engine)] == ["m"]
    await ledger.project(project([done(callback, finished_at=150.0)]), "b", 2)
    assert await ledger.prune(State.COMPLETED, 200.0, 9) == 1
    assert await count(engine, joins) == 0
    assert await ledger.prune(State.COMPLETED, 200.0, 9) == 1


async def test_a_link_of_a_chain_stays_until_the_next_has_ended_whatever_its_id(ledger):
    group = Group("j", 1, 0, Child("next", "g:A", "normal.small", Raw(b"{}")))
    records = [done("p", groups=(group,)), done("link", join="j", member=0)]
    await ledger.project(project(records), "b", 1)
    assert await ledger.ended({"link"}) == set()
    await ledger.project(project([done("next")]), "b", 2)
    assert await ledger.ended({"link"}) == {"link"}


async def test_a_join_that_never_fires_goes_with_the_failed(ledger, engine):
    group = Group("j", 2, 0, Child("c", "g:A", "normal.small", Raw(b"{}")))
    await ledger.project(project([done("p", groups=(group,), finished_at=50.0)]), "b", 1)
    assert await ledger.prune(State.FAILED, 51.0, 9) == 0
    assert await count(engine, joins) == 0


async def test_an_old_join_stays_while_its_callback_is_known(ledger, engine):
    group = Group("j", 1, 0, Child("c", "g:A", "normal.small", Raw(b"{}")))
    member = done("m", join="j", member=0, finished_at=60.0)
    dead = {"failure": Failure("E", "no"), "letter": Letter(Reason.EXHAUSTED, "s", b"{}", "h")}
    callback = done("c", State.FAILED, finished_at=150.0, **dead)
    await ledger.project(project([done("p", groups=(group,), finished_at=50.0), member, callback]), "b", 1)
    assert await ledger.prune(State.FAILED, 100.0, 9) == 0
    assert await ledger.prune(State.COMPLETED, 100.0, 9) == 1
    assert [row.id for row in await rows_of(engine)] == ["c", "m"]
    assert await ledger.prune(State.FAILED, 200.0, 9) == 1
    assert await count(engine, joins) == 0


async def test_each_row_knows_the_last_epoch_that_told_of_it(ledger, engine):
    async def epochs_of() -> dict[str, int]:
        async with engine.begin() as connection:
            return dict(map(tuple, await connection.execute(select(tasks.c.id, tasks.c.epoch))))

    await ledger.project(project([submitted("a"), submitted("b")]), "one", 1)
    assert await epochs_of() == {"a": 1, "b": 1}
    with pytest.raises(LedgerError, match="compared with the ledger"):
        await ledger.project(project([submitted("a")]), "two", 1)
    await ledger.project(project([submitted("a"), submitted("b")]), "one", 1)
    await SqlEpochs(engine).meet("two")
    await ledger.project(project([submitted("a")]), "two", 1)
    await ledger.project(project([submitted("b")]), "one", 2)
    assert await epochs_of() == {"a": 2, "b": 1}


async def test_times_are_aware_and_keep_their_microseconds(ledger, engine):
    at = datetime(2026, 3, 29, 2, 30, 0, 123456, timezone(timedelta(hours=5)))
    one = {"task_id": "t", "key": "k", "at": at, "author": "a", "text": "x"}
    async with engine.begin() as connection:
        await connection.execute(insert(comments).values(one))
        found = (await connection.execute(select(comments.c.at))).scalar_one()
    assert found == at
    assert found.tzinfo is UTC
    with pytest.raises(Exception, match="no time zone"):
        async with engine.begin() as connection:
            await connection.execute(insert(comments).values(one | {"key": "l", "at": at.replace(tzinfo=None)}))


def test_an_attempt_has_all_that_its_table_has():
    assert set(Attempt.__struct_fields__) == set(attempts.c.keys())
    assert set(Row.__struct_fields__) < set(tasks.c.keys())
