"""The port Outgoing: tasks are stored on their lane now, or to be delivered at a time."""

import time
from datetime import UTC, datetime

import pytest

from natsume.adapters.nats.broker import Broker
from natsume.exceptions import BrokerError
from natsume.model.limits import TASK_MESSAGE_MAX
from natsume.model.record import Submitted
from natsume.model.subject import LANES
from natsume.model.task import Task
from natsume.ports import Outgoing
from natsume.testing import until

LANE = LANES[1]


def task(task_id: str, hop: int = 0, body: bytes = b"{}") -> Task:
    return Task(task_id, "g:A", LANE, body, hop=hop)


@pytest.fixture
def outgoing(broker: Broker) -> Outgoing:
    return broker.outgoing


async def stored(broker: Broker) -> dict[str, int]:
    info = await broker.stream_info("TASKS", subjects_filter=">")
    return info["state"].get("subjects") or {}


async def test_a_task_is_stored_on_its_lane_once_per_id(outgoing: Outgoing, broker: Broker) -> None:
    assert await outgoing.submit(task("a"))
    assert not await outgoing.submit(task("a"))
    assert await stored(broker) == {"task.normal.small.g.A": 1}


async def test_a_resent_task_is_no_second_copy_while_its_id_is_remembered(outgoing: Outgoing, broker: Broker) -> None:
    await outgoing.submit(task("a"))
    assert not await outgoing.submit(task("a"), resent=True)
    assert await outgoing.submit(task("a", hop=1), resent=True)
    assert await stored(broker) == {"task.normal.small.g.A": 2}


async def test_many_are_stored_all_and_once(outgoing: Outgoing, broker: Broker) -> None:
    many = [task(f"t{number}") for number in range(10_000)]
    await outgoing.submit_many(many)
    await outgoing.submit_many(many[:100])
    assert await stored(broker) == {"task.normal.small.g.A": 10_000}


async def test_what_the_broker_refuses_among_many_is_raised(outgoing: Outgoing) -> None:
    with pytest.raises(BrokerError) as refused:
        await outgoing.submit_many([task("a"), task("b", body=b" " * TASK_MESSAGE_MAX), task("c")])
    assert refused.value.code


async def test_an_armed_task_is_delivered_when_it_is_due_and_not_before(outgoing: Outgoing, broker: Broker) -> None:
    began = time.monotonic()
    await outgoing.arm(task("a", hop=1), broker.now() + 1.0)
    assert await stored(broker) == {"later.a.1": 1}
    await until(lambda: stored(broker), lambda subjects: subjects == {"task.normal.small.g.A": 1})
    assert time.monotonic() - began > 0.9


async def test_a_hop_is_armed_once_and_the_first_time_stands(outgoing: Outgoing, broker: Broker) -> None:
    await outgoing.arm(task("a", hop=1), broker.now() + 3600)
    await outgoing.arm(task("a", hop=1), broker.now() + 0.1)
    await outgoing.arm(task("a", hop=2), broker.now() + 3600)
    await outgoing.arm(task("b"), broker.now())
    await until(lambda: stored(broker), lambda subjects: "task.normal.small.g.A" in subjects)
    assert await stored(broker) == {"later.a.1": 1, "later.a.2": 1, "task.normal.small.g.A": 1}


@pytest.mark.parametrize("year", [2263, 9999])
async def test_a_time_that_the_server_cannot_count_is_not_now(outgoing: Outgoing, broker: Broker, year: int) -> None:
    await outgoing.arm(task("a"), datetime(year, 12, 31, tzinfo=UTC).timestamp())
    await outgoing.arm(task("b"), time.time() - 5)
    await until(lambda: stored(broker), lambda there: "task.normal.small.g.A" in there)
    assert await stored(broker) == {"task.normal.small.g.A": 1, "later.a.0": 1}


async def test_a_time_that_is_over_is_now(outgoing: Outgoing, broker: Broker) -> None:
    await outgoing.arm(task("a", hop=1), broker.now() - 3600)
    await until(lambda: stored(broker), lambda subjects: subjects == {"task.normal.small.g.A": 1})


async def test_the_record_of_a_submission_is_written_once(outgoing: Outgoing, broker: Broker) -> None:
    first = Submitted("a", "g:A", 1.0, "task.normal.small.g.A", "ce-id: a\r\n", b"{}")
    await outgoing.record(first)
    await outgoing.record(Submitted("a", "g:A", 2.0, "elsewhere", "", b"[]"))
    status = await broker.inquiries.status("a")
    assert status is not None
    assert status.submitted_at == 1.0
