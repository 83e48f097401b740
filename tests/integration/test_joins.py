"""What follows from a commit: children, joins and callbacks, on a real broker."""

from dataclasses import dataclass

import msgspec
import pytest

from natsume import BaseTask, CallbackSpawner, JoinResults, Snooze, UnretryableError, When
from natsume.compose.conductor import conducting
from natsume.model.record import Child, Done, child_id
from natsume.model.task import State
from natsume.testing import until

CALLED: list[tuple[str, object]] = []


@dataclass
class Member(BaseTask):
    number: int
    fails: bool = False

    async def execute(self) -> int:
        if self.fails:
            raise UnretryableError(f"member {self.number} cannot")
        return self.number * self.number


@dataclass
class Sum(BaseTask):
    name: str

    async def execute(self, results: JoinResults) -> int:
        total = 0
        async for one in results:
            total += one.result if isinstance(one.result, int) else 0
        CALLED.append((self.name, total))
        return total


@dataclass
class Alarm(BaseTask):
    name: str

    async def execute(self) -> None:
        CALLED.append(("alarm", self.name))


@dataclass
class Parent(BaseTask):
    name: str
    count: int
    failing: int = -1
    when: When = When.ALL_SUCCEEDED

    async def execute(self, spawner: CallbackSpawner) -> str:
        members = [Member(number, number == self.failing) for number in range(self.count)]
        return await spawner.spawn_with_callback(members, Sum(self.name), on_failure=Alarm(self.name), when=self.when)


@dataclass
class Grandparent(BaseTask):
    count: int

    async def execute(self, spawner: CallbackSpawner) -> str:
        return await spawner.spawn_with_callback(
            [Parent(f"inner-{number}", 2) for number in range(self.count)], Sum("outer")
        )


@dataclass
class Undecided(BaseTask):
    """Schedules, then snoozes: what a try that did not commit has scheduled never runs."""

    async def execute(self) -> str:
        child = await Member(7).schedule()
        if len(CALLED) == 0:
            CALLED.append(("tried", child))
            raise Snooze(0.1)
        return child


@dataclass
class Unserialisable(BaseTask):
    nested: bool

    async def execute(self) -> object:
        return {"x": [None, float("nan")]} if self.nested else object()


@pytest.fixture
def natsume_registry():
    CALLED.clear()
    classes = (Member, Sum, Alarm, Parent, Grandparent, Undecided, Unserialisable)
    return {f"joins:{cls.__name__}": cls for cls in classes}


@pytest.fixture
async def conductor(natsume_settings, natsume_worker):
    async with conducting(natsume_settings):
        yield


async def test_children_become_visible_with_the_commit_and_have_the_same_id_at_every_try(natsume_client, conductor):
    token = await natsume_client.submit(Undecided(), owner="alice")
    child = await natsume_client.result(token)
    assert CALLED == [("tried", child)]
    assert child == child_id(token, 0)
    assert await natsume_client.result(child) == 49
    status = await natsume_client.status(child)
    assert (status.parent, status.owner) == (token, "alice")


async def test_without_a_conductor_children_wait_for_one(natsume_client, natsume_worker, natsume_settings):
    token = await natsume_client.submit(Parent("later", 3))
    await natsume_client.result(token)
    assert CALLED == []
    async with conducting(natsume_settings):
        await until(lambda: CALLED == [("later", 5)])


@pytest.mark.parametrize("count", [0, 1, 10, 300])
async def test_the_callback_runs_once_after_all_and_reads_their_results(natsume_client, conductor, count):
    join = await natsume_client.result(await natsume_client.submit(Parent("sum", count)))
    await natsume_client.result(child_id(join, "callback"))
    assert CALLED == [("sum", sum(number * number for number in range(count)))]


async def test_a_service_spawns_a_group(natsume_client, conductor):
    join = await natsume_client.spawn_with_callback([Member(2), Member(3)], Sum("service"))
    assert await natsume_client.result(child_id(join, "callback")) == 13


async def test_a_member_that_fails_for_good_blocks_the_join_and_alarms_once(natsume_client, conductor, natsume_broker):
    join = await natsume_client.result(await natsume_client.submit(Parent("blocked", 5, failing=2)))
    await until(lambda: CALLED == [("alarm", "blocked")])

    async def all_ended() -> bool:
        found, _ = (await natsume_broker.joins.read([join]))[join]
        return found.arrived_count == 4 and found.failed_count == 1

    await until(all_ended)
    found, _ = (await natsume_broker.joins.read([join]))[join]
    assert found.state == "blocked"
    (failed,) = found.failed_ids()
    assert (await natsume_client.status(failed)).done.letter is not None, "a failed member is kept for its replay"
    assert CALLED == [("alarm", "blocked")]


async def test_with_all_done_the_callback_sees_what_failed(natsume_client, conductor):
    parent = Parent("all", 3, failing=1, when=When.ALL_DONE)
    join = await natsume_client.result(await natsume_client.submit(parent))
    assert await natsume_client.result(child_id(join, "callback")) == 4


async def test_children_spawn_groups_of_their_own(natsume_client, conductor):
    join = await natsume_client.result(await natsume_client.submit(Grandparent(4)))
    await natsume_client.result(child_id(join, "callback"))
    await until(lambda: sorted(name for name, _ in CALLED) == ["inner-0", "inner-1", "inner-2", "inner-3", "outer"])


async def test_very_many_children_go_in_chunks(natsume_client, conductor, natsume_broker):
    token = await natsume_client.submit(Parent("many", 3_000))
    join = await natsume_client.result(token)
    assert await natsume_client.result(child_id(join, "callback"), timeout=60) == sum(n * n for n in range(3_000))
    assert (await natsume_client.status(token)).done.chunks > 0


@pytest.mark.parametrize("nested", [False, True])
async def test_a_result_that_cannot_be_written_is_a_clear_failure_of_that_member(natsume_client, conductor, nested):
    token = await natsume_client.submit(Unserialisable(nested))
    with pytest.raises(Exception, match="cannot be written as JSON"):
        await natsume_client.result(token)
    assert (await natsume_client.status(token)).state is State.FAILED


async def test_two_conductors_call_back_once(natsume_client, conductor, natsume_settings):
    async with conducting(natsume_settings):
        joins = [await natsume_client.spawn_with_callback([Member(n), Member(1)], Sum(f"g{n}")) for n in range(30)]
        for join in joins:
            await natsume_client.result(child_id(join, "callback"))
    assert sorted(name for name, _ in CALLED) == sorted(f"g{n}" for n in range(30))


async def test_a_commit_that_cannot_be_carried_out_holds_up_no_other(natsume_client, conductor, natsume_broker):
    """What a client of another make writes: a child whose headers the server never takes."""
    child = Child("child", "t:Member", "normal.small", msgspec.Raw(b'{"number":1}'), labels={"a": "x" * 100_000})
    now = natsume_broker.now()
    done = Done("odd", "t:Parent", State.COMPLETED, "n", "w", 1, now, now, children=(child,))
    await natsume_broker.records.commit(done)
    await natsume_client.spawn_with_callback([Member(2), Member(3)], Sum("others"))
    await until(lambda: ("others", 13) in CALLED)
