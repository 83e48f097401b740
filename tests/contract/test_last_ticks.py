"""The ledger tells of each schedule which tick started last, over each database."""

from datetime import UTC, datetime, timedelta

from natsume.adapters.sql.ledger import SqlLedger
from natsume.adapters.sql.ticks import SqlTicks
from natsume.core.projection import project
from natsume.model.record import Failure
from natsume.model.task import State
from natsume.model.tick import Ran, ScheduleKey
from recorded import done, submitted

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ONE, OTHER, NEVER = (ScheduleKey("g:A", name) for name in ("one", "other", "never"))


def due(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def ended(key: ScheduleKey, minutes: int) -> tuple[str, bytes]:
    at = due(minutes).timestamp()
    return done(key.tick(due(minutes)), started_at=at + 0.5, finished_at=at + 1.0)


def skipped(key: ScheduleKey, minutes: int) -> tuple[str, bytes]:
    at = due(minutes).timestamp()
    failure = Failure("Skipped", "another was running")
    return done(key.tick(due(minutes)), State.CANCELLED, 0, started_at=at, finished_at=at, failure=failure)


async def test_it_is_the_latest_that_started(engine):
    records = [ended(ONE, 0), ended(ONE, 1), skipped(ONE, 2), submitted(ONE.tick(due(3))), ended(OTHER, 4)]
    records += [skipped(NEVER, 5), done(f"{ONE.id}-now-{'f' * 16}"), done(f"{ONE.id}x"), ended(OTHER, -60)]
    await SqlLedger(engine).project(project(records), "b", 1)
    ticks, ids = SqlTicks(engine), [ONE.id, OTHER.id, NEVER.id]
    last = {ONE.id: Ran(ONE.tick(due(1)), due(1).timestamp() + 0.5)}
    both = last | {OTHER.id: Ran(OTHER.tick(due(4)), due(4).timestamp() + 0.5)}
    assert await ticks.last(ids, due(-90).timestamp()) == both
    assert await ticks.last(ids, due(1).timestamp()) == both
    assert await ticks.last(ids, due(2).timestamp()) == {OTHER.id: both[OTHER.id]}
    assert await ticks.last([ONE.id], due(0).timestamp()) == last
    assert await ticks.last([], 0.0) == {}
