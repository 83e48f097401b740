"""How tasks gather in a worker's hands: in no slot, by key, and for no longer than they must."""

import asyncio

import pytest
from msgspec.structs import replace

from natsume.actors.registry import Registry
from natsume.core.delivery import Delivery
from natsume.enums import Priority, Size
from natsume.model.subject import Lane
from natsume.model.task import Task
from natsume.runtime.gathering import Gatherings
from natsume.runtime.intake import Intake
from natsume.testing import until

from .actors import ByKey, Few, Gathers, Urgent

LANES = tuple(Lane(priority, Size.SMALL) for priority in Priority)
ACTORS = Registry.of_classes({f"t:{cls.__name__}": cls for cls in (Gathers, Few, ByKey, Urgent)}).actors
SLOTS = 2


class Pulled:
    """The port Deliveries, noting what it is asked."""

    def __init__(self) -> None:
        self.asked = dict.fromkeys(LANES, 0)
        self.given_back: list[str] = []

    def pull(self, lane: Lane, count: int) -> None:
        self.asked[lane] += count

    def outstanding(self, lane: Lane) -> int:
        return 0

    def acknowledge(self, *deliveries: Delivery) -> None: ...

    def give_back(self, delivery: Delivery) -> None:
        self.given_back.append(delivery.task.id)

    async def close(self, refuse) -> None: ...


def delivery(number: int, actor: str = "Few", lane: Lane = LANES[1], what: str = "", **more) -> Delivery:
    body = b'{"number": %d, "what": "%b"}' % (number, what.encode())
    return Delivery(Task(str(number), f"t:{actor}", lane, body, **more), b"token", number)


class Started(list):
    def batches(self) -> list[list[str]]:
        return [[one.task.id for one in batch] for batch in self]


@pytest.fixture
async def started():
    return Started()


@pytest.fixture
async def intake(started):
    intake = Intake(LANES, SLOTS, started.append, batching=ACTORS, start_batch=started.append)
    intake.begin(Pulled())
    yield intake
    intake.close()


async def test_what_gathers_takes_no_slot_and_starts_when_it_is_full(intake, started):
    for number in range(2):
        intake.arrived(delivery(number))
    assert (intake.running, started) == (0, [])
    intake.arrived(delivery(2))
    assert (intake.running, started.batches()) == (1, [["0", "1", "2"]])


async def test_what_is_not_full_starts_when_its_first_has_waited(intake, started):
    intake.arrived(delivery(1))
    await until(lambda: started.batches() == [["1"]])


@pytest.mark.parametrize("kept", [{"waits": 1}, {"grants": {"limiter": 1.0}}])
async def test_one_for_whom_something_is_kept_waits_for_nobody(intake, started, kept):
    intake.arrived(delivery(1))
    intake.arrived(delivery(2, **kept))
    assert started.batches() == [["1", "2"]]


async def test_keys_gather_apart_and_when_there_are_more_than_slots_the_oldest_starts(intake, started):
    for number, what in enumerate("abab"):
        intake.arrived(delivery(number, "ByKey", what=what))
    assert not started
    intake.arrived(delivery(4, "ByKey", what="c"))
    assert started.batches() == [["0", "2"]]


async def test_while_no_slot_is_free_a_ripe_batch_takes_more_and_the_more_urgent_goes_before_it(intake, started):
    for number in range(2 * 3):
        intake.arrived(delivery(number))
    assert intake.running == SLOTS
    intake.arrived(delivery(10, waits=1))
    intake.arrived(delivery(11))
    for number in range(20, 20 + 2):
        intake.arrived(delivery(number, "Urgent", LANES[0], waits=1))
    for _ in range(2):
        intake.freed(object())
    assert started.batches()[2:] == [["20", "21"], ["10", "11"]]


async def test_more_is_asked_for_than_slots_only_as_far_as_members_came(intake):
    asked = intake._deliveries.asked
    await asyncio.sleep(0)
    before = sum(asked.values())
    for number in range(50):
        intake.arrived(delivery(number, "Gathers"))
    await asyncio.sleep(0)
    assert 50 <= sum(asked.values()) - before <= 60


@pytest.fixture
async def gatherings():
    """One full batch has come, on the second lane."""
    gatherings = Gatherings(ACTORS, len(LANES), SLOTS, lambda: None)
    for number in range(Few.batch_max):
        gatherings.add(delivery(number), 1)
    return gatherings


async def test_a_full_batch_proves_as_many_of_its_lane_until_one_waits_in_vain(gatherings):
    assert [gatherings.ahead(lane) for lane in range(len(LANES))] == [0, Few.batch_max, 0]
    gatherings.add(delivery(10), 1)
    await until(lambda: gatherings.ripe_count == 2)
    assert gatherings.ahead(1) == 1


async def test_what_a_full_batch_proves_is_forgotten(gatherings):
    await until(lambda: gatherings.ahead(1) == 0)


async def test_doubt_and_a_new_run_of_the_broker_reach_what_gathers(intake, started):
    old, new = delivery(1), delivery(2)
    intake.arrived(old)
    intake.doubt()
    assert old.doubted
    intake.arrived(new)
    intake.forget_doubted()
    assert list(intake.in_hand) == ["2"]
    intake.arrived(replace(old, doubted=False))
    assert [one.task.id for one in intake.close()] == ["2", "1"]
    assert not started


async def test_what_is_ripe_for_long_while_every_slot_is_taken_is_given_back(intake, started, monkeypatch):
    for number in range(2 * 3):
        intake.arrived(delivery(number))
    monkeypatch.setattr("natsume.model.times.BUFFER_PATIENCE_S", -1.0)
    intake.arrived(delivery(10, waits=1))
    await until(lambda: intake._deliveries.given_back == ["10"])
    assert "10" not in intake.in_hand
