from datetime import UTC, datetime

import pytest

from natsume.model.task import State
from natsume.testing import task_done
from natsume_examples.pilots.db import PilotsDB
from natsume_examples.pilots.logic import Element, Status
from natsume_examples.pilots.tasks import MyPilotTask

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def small() -> Element:
    """An element of two slots for one VO, and of the same name for another."""
    element = Element("vo", "ce", 2, success_rate=0.5)
    async with PilotsDB.transaction() as db:
        await db.add([element, Element("other", "ce", 9), Element("vo", "off", 9, enabled=False)])
    return element


async def statuses(vo: str = "vo") -> dict[str, Status]:
    async with PilotsDB.transaction() as db:
        return await db.statuses(vo)


async def test_slots_are_reserved_up_to_the_capacity_of_the_vo(small):
    async with PilotsDB.transaction() as db:
        assert [await db.reserve(name, small, NOW) for name in "abc"] == [True, True, False]
        assert await db.active("vo") == {"ce": 2}
        assert await db.active("other") == {}


async def test_a_pilot_that_ended_frees_its_slot(small):
    async with PilotsDB.transaction() as db:
        assert await db.reserve("a", small, NOW)
        assert not await db.transition("a", Status.RUNNING, NOW)
        assert await db.transition("a", Status.SUBMITTED, NOW)
        assert not await db.transition("a", Status.DONE, NOW)
        assert await db.transition("a", Status.RUNNING, NOW)
        assert await db.transition("a", Status.DONE, NOW)
        assert not await db.transition("a", Status.FAILED, NOW)
        assert await db.active("vo") == {}
        assert [element.name for element in await db.elements("other")] == ["ce"]


async def test_the_task_is_the_pilot(natsume_client, natsume_worker, small, draws):
    draws[:] = [0.4]
    token = await natsume_client.submit(MyPilotTask("ce", "vo"))
    assert await natsume_client.result(token) == token
    assert await statuses() == {token: Status.SUBMITTED}
    assert await statuses("other") == {}


async def test_a_refused_pilot_fails_and_frees_its_slot(natsume_client, natsume_worker, small, draws):
    draws[:] = [0.6]
    token = await natsume_client.submit(MyPilotTask("ce", "vo"))
    done = await task_done(natsume_client, token)
    assert (done.state, done.failure.type, done.letter) == (State.FAILED, "PilotRefused", None)
    assert await statuses() == {token: Status.FAILED}


async def test_more_tasks_than_slots(natsume_client, natsume_worker, small, draws):
    draws[:] = [0.0] * 4
    tokens = await natsume_client.submit_many([MyPilotTask("ce", "vo")] * 4)
    ends = [await task_done(natsume_client, token) for token in tokens]
    assert sorted(done.state for done in ends) == [State.COMPLETED] * 2 + [State.FAILED] * 2
    assert {done.failure.type for done in ends if done.failure} == {"NoFreeSlot"}
    assert list((await statuses()).values()) == [Status.SUBMITTED] * 2


@pytest.mark.parametrize("name", ["off", "unheard-of"])
async def test_elements_that_take_none(natsume_client, natsume_worker, small, name):
    done = await task_done(natsume_client, await natsume_client.submit(MyPilotTask(name, "vo")))
    assert done.failure.type == "NoFreeSlot"
    assert await statuses() == {}


async def test_a_second_run_is_no_second_pilot(natsume_client, natsume_worker, small, draws):
    """As after a crash between the reservation and the done record: the same task runs again."""
    async with PilotsDB.transaction() as db:
        assert await db.reserve("a-task", small, NOW)
        assert await db.reserve("b-task", small, NOW)
        assert await db.transition("b-task", Status.FAILED, NOW)
        assert await db.reserve("c-task", small, NOW)
        assert await db.transition("c-task", Status.SUBMITTED, NOW)
        assert await db.transition("c-task", Status.RUNNING, NOW, "a-check")
    draws[:] = [0.0]
    await natsume_client.submit(MyPilotTask("ce", "vo"), id="a-task")
    await natsume_client.submit(MyPilotTask("ce", "vo"), id="b-task")
    await natsume_client.submit(MyPilotTask("ce", "vo"), id="c-task")
    assert (await task_done(natsume_client, "a-task")).state is State.COMPLETED
    assert (await task_done(natsume_client, "c-task")).state is State.COMPLETED
    assert (await task_done(natsume_client, "b-task")).state is State.FAILED
    assert await statuses() == {"a-task": Status.SUBMITTED, "b-task": Status.FAILED, "c-task": Status.RUNNING}
