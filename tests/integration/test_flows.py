"""Chains, groups and maps on a real broker: from a service and inside execute(), with failures, replays and retries."""

from dataclasses import dataclass, field

import pytest

from natsume import BaseTask, ExponentialBackoff, JoinResults, UnretryableError, chain, group, on_loop
from natsume import map as map_over
from natsume.binding import bind
from natsume.core.join import JoinState
from natsume.model.record import child_id
from natsume.model.task import Reason
from natsume.testing import until

RAN: list[object] = []
BROKEN: set[str] = set()


@dataclass
class Start(BaseTask):
    number: int

    async def execute(self) -> int:
        RAN.append("start")
        if "start" in BROKEN:
            raise UnretryableError("not today")
        return self.number


@dataclass
class Add(BaseTask):
    plus: int
    number: int = 0
    takes_result = "number"
    retry_policy = ExponentialBackoff(base_delay_seconds=1, max_retries=1)

    async def execute(self) -> int:
        RAN.append(("add", self.number))
        if "once" in BROKEN:
            BROKEN.clear()
            raise ValueError("the first time only")
        return self.number + self.plus


@dataclass
class Words(BaseTask):
    async def execute(self) -> str:
        return "no number"


@dataclass
class Total(BaseTask):
    async def execute(self, results: JoinResults) -> int:
        return sum([one.result async for one in results])


@dataclass
class SumOf(BaseTask):
    numbers: list[int] = field(default_factory=list)

    async def execute(self) -> int:
        return sum(self.numbers)


@dataclass
class Parent(BaseTask):
    fails: bool = False

    async def execute(self) -> str:
        last = await chain(Start(1), Add(10), Add(100)).schedule()
        if self.fails and "parent" not in RAN:
            RAN.append("parent")
            raise ValueError("after it has scheduled")
        return last

    retry_policy = ExponentialBackoff(base_delay_seconds=1, max_retries=1)


class InThread(BaseTask):
    def execute(self) -> str:
        return on_loop(chain(Start(1), Add(1)).schedule)


@pytest.fixture
def natsume_registry():
    RAN.clear()
    BROKEN.clear()
    return {f"f:{cls.__name__}": cls for cls in (Start, Add, Words, Total, SumOf, Parent, InThread)}


@pytest.fixture
def running(natsume_worker, natsume_conductor): ...


async def test_a_service_gets_the_result_of_the_last_link(natsume_client, running):
    token = await natsume_client.spawn(chain(Start(1), Add(10), Add(100)), owner="ada")
    assert await natsume_client.result(token) == 111
    assert RAN == ["start", ("add", 1), ("add", 11)]
    assert (await natsume_client.status(token)).owner == "ada"
    with bind(natsume_client):
        assert await natsume_client.result(await chain(Start(2), Add(1)).schedule()) == 3


async def test_a_task_chains_for_its_commit_and_once_however_often_it_runs(natsume_client, running):
    token = await natsume_client.submit(Parent(fails=True))
    last = await natsume_client.result(token)
    assert last == child_id(token, 2)
    assert await natsume_client.result(last) == 111
    assert RAN == ["parent", "start", ("add", 1), ("add", 11)]
    assert await natsume_client.result(await natsume_client.result(await natsume_client.submit(InThread()))) == 2


async def test_a_link_is_tried_again_with_the_same_result(natsume_client, running):
    BROKEN.add("once")
    token = await natsume_client.spawn(chain(Start(1), Add(10), Add(100)))
    assert await natsume_client.result(token) == 111
    assert RAN == ["start", ("add", 1), ("add", 1), ("add", 11)]


async def join_of(broker, done):
    return (await broker.joins.read([done.join]))[done.join][0]


async def test_a_failed_link_blocks_the_chain_and_its_replay_completes_it(natsume_client, running, natsume_broker):
    BROKEN.add("start")
    last = await natsume_client.spawn(chain(Start(1), Add(10), Add(100)))
    letter = await until(lambda: _letters(natsume_client), len)
    await until(lambda: join_of(natsume_broker, letter[0].done), lambda join: join.state is JoinState.BLOCKED)
    assert RAN == ["start"]
    BROKEN.clear()
    await natsume_client.letters.replay(letter[0].done.id)
    assert await natsume_client.result(last) == 111
    assert RAN == ["start", "start", ("add", 1), ("add", 11)]


async def _letters(client):
    return [letter async for letter in client.letters.ls()]


async def test_a_result_that_does_not_fit_is_a_dead_letter_and_completes_the_chain_once_corrected(
    natsume_client, running
):
    last = await natsume_client.spawn(chain(Words(), Add(10), Add(100)))
    (letter,) = await until(lambda: _letters(natsume_client), len)
    assert letter.done.letter.reason is Reason.INVALID_ARGUMENTS
    assert "at $.number" in letter.done.failure.message
    await natsume_client.letters.replay(letter.done.id, task=Add(10, 5))
    assert await natsume_client.result(last) == 115


async def test_a_group_and_a_map_stand_first(natsume_client, running):
    token = await natsume_client.spawn(chain(group(Start(1), Start(2)), Total(), Add(100)))
    assert await natsume_client.result(token) == 103
    token = await natsume_client.spawn(chain(map_over(SumOf, range(100_000), chunk=5_000), Total()))
    assert await natsume_client.result(token) == sum(range(100_000))
    token = await natsume_client.spawn(chain(map_over(SumOf, []), Total(), Add(100)))
    assert await natsume_client.result(token) == 100, "what follows a group of none reads no results"
    assert (await natsume_client.status(token)).submitted_at is not None


async def test_a_group_alone_is_listed_by_its_parent(natsume_client, running):
    parent = await natsume_client.spawn(group(Start(1), Start(2)))
    assert [await natsume_client.result(child_id(parent, number)) for number in (0, 1)] == [1, 2]
