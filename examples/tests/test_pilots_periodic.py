import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from natsume import CronSchedule, IntervalSeconds, MutexLock
from natsume.config.tasks_file import parse
from natsume.model.config import Applied
from natsume.testing import until
from natsume_examples.pilots.db import PilotsDB
from natsume_examples.pilots.logic import ACTIVE, Element, Status
from natsume_examples.pilots.tasks import MyCheckPilotsTask, MyPilotReportTask, MyPilotTask, MySubmitPilotsTask

NOW = datetime.now(UTC) - timedelta(minutes=1)
OFTEN = "{schedules: {default: {every: 1}}}"
TASKS = f"vos: [a, b]\ncommon: {{pilots:MySubmitPilotsTask: {OFTEN}, pilots:MyCheckPilotsTask: {OFTEN}}}"


@pytest.fixture
async def elements() -> None:
    async with PilotsDB.transaction() as db:
        await db.add([Element("a", "ce", 2), Element("a", "off", 9, enabled=False), Element("b", "ce", 1)])


@pytest.fixture
def lucky(draws) -> None:
    draws[:] = [0.0] * 10_000


async def counts(vo: str) -> Counter[Status]:
    async with PilotsDB.transaction() as db:
        return Counter((await db.statuses(vo)).values())


def test_when_they_run():
    assert MySubmitPilotsTask.default_schedule == IntervalSeconds(60)
    assert MyCheckPilotsTask.default_schedule == IntervalSeconds(30)
    assert MyPilotReportTask.default_schedule == CronSchedule("0 * * * *")
    assert MySubmitPilotsTask("a").execution_locks == [MutexLock("task", "MySubmitPilotsTask", "a")]


async def test_free_slots_are_filled_and_those_of_other_vos_left(
    elements, lucky, natsume_client, natsume_worker, natsume_conductor
):
    token = await natsume_client.submit(MySubmitPilotsTask("a"))
    assert await natsume_client.result(token) == {"ce": 2}
    await until(lambda: counts("a"), lambda found: found == {Status.SUBMITTED: 2})
    again = await natsume_client.submit(MySubmitPilotsTask("a"))
    assert await natsume_client.result(again) == {}
    assert await counts("b") == {}


async def test_a_slot_that_was_reserved_before_a_crash_is_not_given_again(
    elements, lucky, natsume_client, natsume_worker, natsume_conductor
):
    """The worker died after the reservation; the next tick comes before the task has run again."""
    async with PilotsDB.transaction() as db:
        await db.reserve("interrupted", Element("a", "ce", 2), NOW)
    token = await natsume_client.submit(MySubmitPilotsTask("a"))
    assert await natsume_client.result(token) == {"ce": 1}
    await until(lambda: counts("a"), lambda found: found == {Status.RESERVED: 1, Status.SUBMITTED: 1})
    await natsume_client.submit(MyPilotTask("ce", "a"), id="interrupted")
    assert await natsume_client.result("interrupted") == "interrupted"
    assert await counts("a") == {Status.SUBMITTED: 2}


async def test_a_pilot_goes_one_step_per_check(elements, draws, natsume_client, natsume_worker):
    async with PilotsDB.transaction() as db:
        for pilot, element in (("one", Element("a", "ce", 2)), ("other", Element("a", "ce", 2))):
            assert await db.reserve(pilot, element, NOW)
            assert await db.transition(pilot, Status.SUBMITTED, NOW)
        assert await db.reserve("of-b", Element("b", "ce", 1), NOW)
    draws[:] = [0.0, 0.0, 0.0, 1.0]
    for moved in ({"running": 2}, {"done": 1, "failed": 1}, {}):
        token = await natsume_client.submit(MyCheckPilotsTask("a"))
        assert await natsume_client.result(token) == moved
    report = await natsume_client.result(await natsume_client.submit(MyPilotReportTask()))
    assert report == {
        "a": {"reserved": 0, "submitted": 0, "running": 0, "done": 1, "failed": 1},
        "b": {"reserved": 1, "submitted": 0, "running": 0, "done": 0, "failed": 0},
    }


async def test_a_slot_that_was_reserved_long_ago_is_freed(elements, lucky, natsume_client, natsume_worker):
    """Its task died for good between the reservation and the element's answer."""
    async with PilotsDB.transaction() as db:
        assert await db.reserve("forgotten", Element("a", "ce", 2), NOW - timedelta(hours=1))
        assert await db.reserve("lately", Element("a", "ce", 2), NOW)
    assert await natsume_client.result(await natsume_client.submit(MyCheckPilotsTask("a"))) == {"failed": 1}
    assert await counts("a") == {Status.FAILED: 1, Status.RESERVED: 1}


async def test_a_second_run_of_a_check_moves_none_again(elements, lucky, natsume_client, natsume_worker):
    """As after a crash between the database's commit and the done record: the same task runs again."""
    async with PilotsDB.transaction() as db:
        assert await db.reserve("one", Element("a", "ce", 2), NOW)
        assert await db.transition("one", Status.SUBMITTED, NOW)
        assert await db.transition("one", Status.RUNNING, NOW, "the-check")
    await natsume_client.submit(MyCheckPilotsTask("a"), id="the-check")
    assert await natsume_client.result("the-check") == {}
    assert await counts("a") == {Status.RUNNING: 1}


async def test_by_the_clock_pilots_of_two_vos_are_submitted_and_finish(
    elements, lucky, natsume_broker, natsume_client, natsume_worker, natsume_conductor
):
    await natsume_broker.config.put(Applied(parse(TASKS.encode(), "tasks.yaml"), "test", time.time(), TASKS), 0)
    for vo, capacity in (("a", 2), ("b", 1)):
        found = await until(lambda vo=vo: counts(vo), lambda found, least=capacity: found[Status.DONE] >= least)
        assert sum(found[status] for status in ACTIVE) <= capacity
