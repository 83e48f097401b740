"""Retries, and what is no retry: snoozes, time limits, errors that no retry helps."""

import asyncio
import itertools
from datetime import UTC, datetime
from uuid import UUID

import pytest

from natsume.model.task import Reason, State
from natsume.testing import until

from .actors import AlwaysFails, AsksForRetry, Colour, Hopeless, Sleeper, Snoozer, Typed
from .installation import Installation

BASE_S = 0.4


@pytest.fixture
def ack_wait_s() -> float:
    return 1.0


async def test_three_retries_are_one_try_and_three_more_with_doubling_delays(installation: Installation) -> None:
    await installation.start_worker().ready()
    token = await installation.client.submit(AlwaysFails())
    _, done = (await installation.all_done([token]))[token]
    failures = (await installation.client.status(token)).failures
    delays = [failed.next_at - failed.failed_at for failed in failures]
    asked = [line.text for line in installation.journal.lines("asked")]
    starts = [line.at for line in installation.journal.lines("start", token)]
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    print(f"max_retries=3: {len(starts)} starts, delays {[round(delay, 3) for delay in delays]}; asked {asked}")
    assert len(starts) == 4
    assert delays == pytest.approx([BASE_S, 2 * BASE_S, 4 * BASE_S], abs=0.05)
    assert all(gap > delay - 0.05 for gap, delay in zip(gaps, delays, strict=True))
    assert asked == [f"{number} OutOfInk: at attempt {number}" for number in (1, 2, 3, 4)]
    assert (done.state, done.attempt) == (State.FAILED, 4)


async def test_an_unretryable_error_never_asks_the_policy(installation: Installation) -> None:
    await installation.start_worker().ready()
    token = await installation.client.submit(Hopeless())
    _, done = (await installation.all_done([token]))[token]
    print(f"UnretryableError: {installation.journal.starts()[token]} start, {done.letter and done.letter.reason}")
    assert installation.journal.lines("asked") == []
    assert installation.journal.starts()[token] == 1
    assert done.letter is not None
    assert (done.state, done.letter.reason) == (State.FAILED, Reason.UNRETRYABLE)


async def test_asking_for_a_retry_under_no_retry_fails(installation: Installation) -> None:
    await installation.start_worker().ready()
    token = await installation.client.submit(AsksForRetry())
    _, done = (await installation.all_done([token]))[token]
    assert installation.journal.starts()[token] == 1
    assert done.failure is not None
    assert (done.state, done.failure.type) == (State.FAILED, "TaskRetryRequestedError")


async def test_datetime_enum_and_uuid_survive_a_retry(installation: Installation) -> None:
    await installation.start_worker().ready()
    when, key = datetime(2026, 11, 21, 7, 30, tzinfo=UTC), UUID(int=7)
    token = await installation.client.submit(Typed(when, Colour.RED, key))
    result = await installation.client.result(token)
    assert installation.journal.starts()[token] == 2
    assert result == [when.isoformat(), repr(Colour.RED), repr(key)]


async def test_a_snooze_costs_no_attempt(installation: Installation) -> None:
    await installation.start_worker().ready()
    token = await installation.client.submit(Snoozer(times=3))
    attempt = await installation.client.result(token)
    print(f"snoozed three times: {installation.journal.starts()[token]} starts, attempt {attempt}")
    assert (installation.journal.starts()[token], attempt) == (4, 1)


async def test_a_snooze_takes_back_the_mark_of_a_start_that_was_brought_again(installation: Installation) -> None:
    """Only one crash is allowed, and its start is marked since its first worker was killed."""
    environment = {"NATSUME_MAX_CRASHES": "1"}
    first = await installation.start_worker(**environment).ready()
    token = await installation.client.submit(Snoozer(times=3, nap_s=0.5))
    await until(lambda: token in installation.journal.started())
    await first.kill()
    await installation.start_worker(**environment).ready()
    _, done = (await installation.all_done([token]))[token]
    starts = installation.journal.starts()[token]
    print(f"killed once, snoozed: {starts} starts, {done.state}, attempt {done.attempt}, {done.crashes} crashes")
    assert (starts, done.state, done.attempt, done.crashes) == (4, State.COMPLETED, 1, 0)


async def test_each_actor_has_its_own_time_limit(installation: Installation) -> None:
    await installation.start_worker().ready()
    late, quick = await asyncio.gather(
        installation.client.submit(Sleeper(1, 30.0)), installation.client.submit(Sleeper(2, 0.1))
    )
    records = await installation.all_done([late, quick])
    _, done = records[late]
    assert done.failure is not None
    assert (done.state, done.failure.type) == (State.FAILED, "ResourceLimitExceeded")
    assert 0.5 <= done.finished_at - done.started_at < 2.0
    assert records[quick][1].state is State.COMPLETED
