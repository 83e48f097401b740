"""What a worker has in hand: strict priority, one copy of an id at a time, solitude for suspects."""

import asyncio

import pytest

from natsume.core.delivery import Delivery
from natsume.enums import Priority, Size
from natsume.model.subject import Lane
from natsume.model.task import Task
from natsume.runtime.intake import Intake

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

    def acknowledge(self, delivery: Delivery) -> None: ...

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
