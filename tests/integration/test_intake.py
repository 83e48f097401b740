"""What a worker has in hand: strict priority, one copy of an id at a time, solitude for suspects."""

import asyncio
import time

import pytest

from natsume.core.delivery import Delivery
from natsume.enums import Priority, Size
from natsume.model import limits, times
from natsume.model.subject import Lane
from natsume.model.task import Task
from natsume.runtime.intake import Intake
from natsume.testing import until

LANES = tuple(Lane(priority, Size.SMALL) for priority in Priority)


class Pulled:
    """The port Deliveries, noting what it is asked."""

    def __init__(self) -> None:
        self.asked = dict.fromkeys(LANES, 0)
        self.given_back: list[str] = []

    def pull(self, lane: Lane, count: int) -> None:
        self.asked[lane] += count

    def outstanding(self, lane: Lane) -> int:
        return self.asked[lane]

    def acknowledge(self, *deliveries: Delivery) -> None: ...

    def give_back(self, delivery: Delivery) -> None:
        self.given_back.append(delivery.task.id)

    async def close(self, refuse) -> None: ...


def delivery(task_id: str, lane: Lane = LANES[1], sequence: int = 1) -> Delivery:
    return Delivery(Task(task_id, "g:A", lane, b"{}"), b"token-%d" % sequence, sequence)


@pytest.fixture
async def started() -> list[Delivery]:
    return []


@pytest.fixture
async def intake(started):
    intake = Intake(LANES, 2, started.append)
    intake.begin(Pulled())
    yield intake
    intake.close()


async def test_an_idle_worker_has_a_pull_standing_on_each_lane(intake):
    await asyncio.sleep(0)
    assert all(intake._deliveries.asked[lane] >= 1 for lane in LANES)


async def test_the_most_urgent_starts_first_when_a_slot_is_free(intake, started):
    for number in range(2):
        intake.arrived(delivery(f"busy-{number}", sequence=number))
    intake.arrived(delivery("background", LANES[2], 10))
    intake.arrived(delivery("normal", LANES[1], 11))
    intake.arrived(delivery("realtime", LANES[0], 12))
    for _ in range(2):
        intake.ended(started[0])
        started.pop(0)
    intake.ended(started[0])
    assert [one.task.id for one in started] == ["realtime", "normal", "background"]


async def test_the_same_message_again_only_renews_the_token(intake, started):
    first = delivery("a", sequence=5)
    intake.arrived(first)
    again = delivery("a", sequence=5)
    again.token = b"newer"
    intake.arrived(again)
    assert started == [first]
    assert first.token == b"newer"


async def test_another_copy_of_an_id_waits_and_is_then_a_suspect(intake, started):
    first, second = delivery("a", sequence=5), delivery("a", sequence=6)
    intake.arrived(first)
    intake.arrived(second)
    assert started == [first]
    intake.ended(first)
    assert started == [first, second]
    assert second.doubted


async def test_solitude_waits_for_what_runs_and_holds_back_what_comes(intake, started):
    runs, suspect, other = delivery("runs"), delivery("suspect", sequence=2), delivery("other", sequence=3)
    intake.arrived(runs)
    intake.arrived(suspect)
    alone = asyncio.ensure_future(intake.isolate(suspect))
    await asyncio.sleep(0)
    intake.arrived(other)
    assert not alone.done()
    intake.ended(runs)
    await alone
    assert other not in started
    intake.ended(suspect)
    assert other in started


async def test_two_suspects_are_alone_one_after_the_other(intake, started):
    one, two = delivery("one"), delivery("two", sequence=2)
    intake.arrived(one)
    intake.arrived(two)
    first, second = asyncio.ensure_future(intake.isolate(one)), asyncio.ensure_future(intake.isolate(two))
    await first
    assert not second.done()
    intake.ended(one)
    await second


async def test_closing_returns_what_has_not_started(intake, started):
    for number in range(4):
        intake.arrived(delivery(f"task-{number}", sequence=number))
    assert [one.task.id for one in intake.close()] == ["task-2", "task-3"]
    assert set(intake.in_hand) == {"task-0", "task-1"}


async def test_a_lost_connection_makes_suspects_of_what_has_not_started(intake, started):
    for number in range(3):
        intake.arrived(delivery(f"task-{number}", sequence=number))
    intake.doubt()
    assert [one.doubted for one in started] == [False, False]
    assert [one.doubted for one in intake.close()] == [True]


async def test_of_a_broker_that_started_anew_only_what_it_brings_counts(intake, started):
    """What waits since before is dropped and not given back; a copy that came since is kept."""
    for number in range(3):
        intake.arrived(delivery(f"task-{number}", sequence=number))
    intake.arrived(delivery("task-0", sequence=7))
    intake.doubt()
    intake.arrived(delivery("task-0", sequence=8))
    intake.arrived(delivery("task-3", sequence=9))
    intake.forget_doubted()
    intake.ended(started[0])
    assert [one.sequence for one in started] == [0, 1, 9]
    assert sorted(intake.in_hand) == ["task-0", "task-1", "task-3"]
    assert [one.sequence for one in intake.close()] == [8]


def placed(task_id: str, in_s: float, sequence: int = 1) -> Delivery:
    """A delivery whose place under a rate limiter comes in so many seconds."""
    one = delivery(task_id, sequence=sequence)
    one.grants = {"share": time.time() + in_s}
    return one


async def test_a_place_that_comes_soon_is_waited_for_in_hand_and_out_of_the_slots(intake, started):
    early = placed("early", 0.2)
    intake.arrived(early)
    assert (intake.set_aside, intake.running, list(intake.in_hand)) == (1, 0, ["early"])
    await until(lambda: started, lambda found: found == [early])
    assert time.time() >= early.grants["share"]
    assert intake.set_aside == 0


async def test_a_place_that_has_come_goes_before_what_is_buffered(intake, started):
    busy = [delivery(f"busy-{number}", sequence=number) for number in range(2)]
    for one in (*busy, delivery("buffered", sequence=3), placed("placed", 0.05, 4)):
        intake.arrived(one)
    await until(lambda: intake.set_aside, lambda count: count == 0)
    intake.ended(busy[0])
    assert [one.task.id for one in started[2:]] == ["placed"]


async def test_a_place_far_ahead_or_long_past_is_for_the_table_to_decide(intake, started):
    intake.arrived(placed("far", times.HOLD_S + 5))
    intake.arrived(placed("past", -5, sequence=2))
    assert [one.task.id for one in started] == ["far", "past"]


async def test_what_is_told_to_wait_by_its_run_leaves_its_slot_and_stays_in_hand(intake, started):
    one = delivery("one")
    intake.arrived(one)
    one.grants = {"share": time.time() + 0.05}
    intake.ended(one)
    assert (intake.running, intake.set_aside, list(intake.in_hand)) == (0, 1, ["one"])
    await until(lambda: len(started), lambda count: count == 2)


async def test_what_is_set_aside_is_doubted_and_returned_like_all_that_has_not_started(intake):
    one = placed("one", 0.5)
    intake.arrived(one)
    intake.doubt()
    assert one.doubted
    assert intake.close() == [one]
    assert (intake.set_aside, intake.in_hand) == (0, {})


async def test_what_would_be_set_aside_after_the_close_is_given_back(intake):
    one = delivery("one")
    intake.arrived(one)
    intake.close()
    one.grants = {"share": time.time() + 0.5}
    intake.ended(one)
    assert (intake._deliveries.given_back, intake.set_aside, intake.in_hand) == (["one"], 0, {})


async def test_with_as_many_set_aside_as_may_be_no_others_are_pulled(intake, started, monkeypatch):
    monkeypatch.setattr(limits, "HELD_MAX", 1)
    await asyncio.sleep(0)
    intake._deliveries.asked = dict.fromkeys(LANES, 0)
    intake.arrived(placed("first", 0.3))
    await asyncio.sleep(0)
    assert not any(intake._deliveries.asked.values())
    second = placed("second", 0.3, 2)
    intake.arrived(second)
    assert started == [second]
    second.grants = None  # its run has taken them
    intake.ended(second)
    await until(lambda: any(intake._deliveries.asked.values()))
