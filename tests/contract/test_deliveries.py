"""The port Deliveries: a worker gets what it asks for, keeps it for `ack_wait`, and answers each once."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

import pytest

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.core.delivery import Delivery
from natsume.enums import Priority, Size
from natsume.model.subject import Lane
from natsume.model.task import Reason, Task
from natsume.ports import Deliveries
from natsume.testing import until

LANES = tuple(Lane(priority, Size.SMALL) for priority in Priority)
NORMAL = LANES[1]


class Side:
    """One worker's side of the lanes."""

    def __init__(self, open_lanes: Callable[..., Deliveries]) -> None:
        self.got: list[Delivery] = []
        self.refused: list[Delivery] = []
        self._closed = False
        self.port = open_lanes(LANES, self.got.append, lambda: None)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self.port.close(self.refused.append)

    async def has(self, count: int, within_s: float = 5.0) -> list[Delivery]:
        return await until(lambda: self.got, lambda got: len(got) >= count, within_s=within_s)


@pytest.fixture
async def side(broker: Broker) -> AsyncIterator[Side]:
    side = Side(broker.deliveries)
    yield side
    await side.close()


@pytest.fixture
async def beside(broker: Broker) -> AsyncIterator[Side]:
    side = Side(broker.deliveries)
    yield side
    await side.close()


async def submit(broker: Broker, *ids: str, lane: Lane = NORMAL) -> None:
    await broker.outgoing.submit_many([Task(task, "g:A", lane, b'{"n":1}', submitted_at=5.0) for task in ids])


async def in_flight(broker: Broker, lane: Lane = NORMAL) -> tuple[int, int]:
    """What waits on a lane, and what was delivered and not answered."""

    info = json.loads(await broker.request(f"$JS.API.CONSUMER.INFO.TASKS.{lane.consumer}", b""))
    return info["num_pending"], info["num_ack_pending"]


async def test_nothing_comes_that_was_not_asked_for(side: Side, broker: Broker) -> None:
    await submit(broker, "a", "b", "c")
    side.port.pull(NORMAL, 2)
    await side.has(2)
    assert [delivery.task.id for delivery in side.got] == ["a", "b"]
    assert side.port.outstanding(NORMAL) == 0
    assert await in_flight(broker) == (1, 2)


async def test_a_pull_waits_for_what_is_submitted_later(side: Side, broker: Broker) -> None:
    side.port.pull(NORMAL, 5)
    assert side.port.outstanding(NORMAL) == 5
    await submit(broker, "a")
    (delivery,) = await side.has(1)
    assert side.port.outstanding(NORMAL) == 4
    assert (delivery.task.id, delivery.task.actor, delivery.task.body) == ("a", "g:A", b'{"n":1}')
    assert (delivery.task.submitted_at, delivery.delivered, delivery.fault) == (5.0, 1, None)
    assert (delivery.resent, delivery.fired) == (False, False)


async def test_a_pull_of_one_lane_brings_nothing_of_another(side: Side, broker: Broker) -> None:
    await submit(broker, "a", lane=LANES[0])
    side.port.pull(NORMAL, 1)
    await submit(broker, "b")
    assert [delivery.task.id for delivery in await side.has(1)] == ["b"]


async def test_what_is_acknowledged_is_gone(side: Side, broker: Broker) -> None:
    for task_id in ("a", "b", "c"):
        await submit(broker, task_id)
    side.port.pull(NORMAL, 3)
    first, *others = await side.has(3)
    side.port.acknowledge(first)
    side.port.acknowledge(*others)
    await until(lambda: in_flight(broker), lambda counts: counts == (0, 0))
    assert (await broker.stream_info("TASKS"))["state"]["messages"] == 0


async def test_what_is_given_back_comes_again_at_once_to_whoever_asks(side: Side, beside: Side, broker: Broker) -> None:
    await submit(broker, "a")
    side.port.pull(NORMAL, 1)
    (first,) = await side.has(1)
    side.port.give_back(first)
    beside.port.pull(NORMAL, 1)
    (again,) = await beside.has(1, within_s=0.5)
    assert (again.task.id, again.sequence, again.delivered) == ("a", first.sequence, 2)


async def test_what_is_not_answered_comes_again_after_ack_wait(side: Side, broker: Broker) -> None:
    await submit(broker, "a")
    side.port.pull(NORMAL, 2)
    await side.has(1)
    began = time.monotonic()
    first, again = await side.has(2)
    assert time.monotonic() - began > 0.8
    assert (again.sequence, again.delivered) == (first.sequence, 2)
    assert again.token != first.token


async def test_a_resent_and_a_fired_task_say_so(side: Side, broker: Broker) -> None:
    await broker.outgoing.submit(Task("a", "g:A", NORMAL, b"{}"), resent=True)
    await broker.outgoing.arm(Task("b", "g:A", NORMAL, b"{}", hop=1), broker.now())
    side.port.pull(NORMAL, 2)
    found = {delivery.task.id: (delivery.resent, delivery.fired) for delivery in await side.has(2)}
    assert found == {"a": (True, False), "b": (False, True)}


async def test_a_message_without_an_id_has_one_of_its_own_at_every_delivery(side: Side, broker: Broker) -> None:
    await broker.publisher.publish(b"task.normal.small.g.A", b"", b"{}")
    await broker.publisher.publish(b"task.normal.small.g.A", b"", b"{}")
    side.port.pull(NORMAL, 3)
    first, second = (await side.has(2))[:2]
    side.port.give_back(first)
    again = (await side.has(3))[2]
    assert first.task.id == again.task.id != second.task.id


async def test_what_cannot_be_read_comes_with_a_fault(side: Side, broker: Broker) -> None:
    await broker.publisher.publish(b"task.normal.small.only-a-group", b"", b"\xff")
    await broker.publisher.publish(b"task.normal.small.g.A", b"ce-id: has.dots\r\n", b"\xff")
    side.port.pull(NORMAL, 2)
    faults = [delivery.fault and delivery.fault.reason for delivery in await side.has(2)]
    assert faults == [Reason.UNKNOWN_ACTOR, Reason.UNPARSABLE]
    assert [delivery.task.body for delivery in side.got] == [b"\xff", b"\xff"]


async def test_after_close_nothing_is_left_with_this_worker(side: Side, beside: Side, broker: Broker) -> None:
    """What was on its way goes to `refuse`; what comes later, to others."""
    side.port.pull(NORMAL, 50)
    await submit(broker, *(f"t{number}" for number in range(20)))
    await side.close()
    for delivery in [*side.got, *side.refused]:
        side.port.give_back(delivery)
    await submit(broker, "later")
    beside.port.pull(NORMAL, 50)
    await beside.has(21, within_s=0.8)
    assert len(beside.got) == 21


async def test_pulls_end_with_their_server_and_are_asked_anew(
    side: Side, broker: Broker, natsume_server: EmbeddedServer
) -> None:
    side.port.pull(NORMAL, 5)
    await asyncio.to_thread(natsume_server.kill)
    await until(lambda: not broker.wire.is_connected)
    assert side.port.outstanding(NORMAL) == 0
    side.port.pull(NORMAL, 5)
    assert side.port.outstanding(NORMAL) == 0
    await asyncio.to_thread(natsume_server.start)
    await until(lambda: broker.wire.is_connected)
    side.port.pull(NORMAL, 1)
    await submit(broker, "a")
    await side.has(1)


async def test_only_the_first_delivery_of_a_message_may_use_its_places(broker: Broker, side: Side) -> None:
    task = Task("placed", "g:A", NORMAL, b"{}", hop=1, grants={"share": 5.0})
    await broker.outgoing.submit(task)
    side.port.pull(NORMAL, 2)
    (first,) = await side.has(1)
    assert (first.grants, first.task.grants) == ({"share": 5.0}, {"share": 5.0})
    side.port.give_back(first)
    _, again = await side.has(2)
    assert (again.grants, again.delivered) == (None, 2)


async def test_who_stops_twice_stops_once(side: Side, beside: Side, broker: Broker) -> None:
    side.port.pull(NORMAL, 5)
    for _ in range(2):
        await side.port.close(side.refused.append)
    await submit(broker, "a")
    beside.port.pull(NORMAL, 1)
    await beside.has(1)
    assert (side.got, side.refused) == ([], [])
