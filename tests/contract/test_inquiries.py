"""The port Inquiries: what the broker's records say of a task."""

import asyncio

import pytest

from natsume.adapters.nats.broker import Broker
from natsume.model.record import Submitted
from natsume.model.subject import LANES
from natsume.model.task import State, Task
from natsume.ports import Inquiries
from natsume.testing import until

from .conftest import done, failed, started


@pytest.fixture
def inquiries(broker: Broker) -> Inquiries:
    return broker.inquiries


async def state_of(inquiries: Inquiries, task: str) -> State:
    status = await inquiries.status(task)
    assert status is not None
    return status.state


async def test_nothing_is_known_of_an_id_without_a_record(inquiries: Inquiries) -> None:
    assert await inquiries.status("nobody") is None


async def test_a_task_goes_from_enqueued_over_running_and_waiting_to_its_end(
    inquiries: Inquiries, broker: Broker
) -> None:
    await broker.outgoing.record(Submitted("a", "g:A", 1.0, "task.normal.small.g.A", "", b"{}"))
    assert await state_of(inquiries, "a") is State.ENQUEUED
    await broker.records.start(started("a", 1), 0)
    assert await state_of(inquiries, "a") is State.RUNNING
    await broker.records.fail(failed("a", 1, next_at=broker.now() + 3600))
    await broker.outgoing.arm(Task("a", "g:A", LANES[1], b"{}", 2, 1), broker.now() + 1)
    assert await state_of(inquiries, "a") is State.WAITING

    async def schedules() -> int:
        return len(await broker._tasks_reader.last(["later.a.*"]))

    await until(schedules, lambda count: count == 0)
    await broker.records.start(started("a", 2), 0)
    assert await state_of(inquiries, "a") is State.RUNNING
    await broker.records.commit(done("a"))
    status = await inquiries.status("a")
    assert status is not None
    assert (status.state, status.done) == (State.COMPLETED, done("a"))
    assert [failure.attempt for failure in status.failures] == [1]


async def test_the_end_is_told_at_once_when_it_stands_already(inquiries: Inquiries, broker: Broker) -> None:
    await broker.records.commit(done("a"))
    async with asyncio.timeout(30):
        assert await inquiries.ended("a") == done("a")


async def test_the_end_is_told_when_it_comes_to_all_who_wait(inquiries: Inquiries, broker: Broker) -> None:
    waiting = [asyncio.create_task(inquiries.ended("a")) for _ in range(20)]
    await inquiries.status("a")  # their subscriptions are on the wire before
    await broker.records.commit(done("a", state=State.FAILED))
    async with asyncio.timeout(30):
        assert await asyncio.gather(*waiting) == [done("a", state=State.FAILED)] * 20


async def test_who_stops_waiting_leaves_nothing_behind(inquiries: Inquiries, broker: Broker) -> None:
    routes = len(broker.wire._routes)
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await inquiries.ended("a")
    assert len(broker.wire._routes) == routes
