"""Unique children, callbacks and tasks of events: one holds the place, the others end and say who does."""

import asyncio
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from natsume import BaseTask, CallbackSpawner, JoinResults, Unique
from natsume.actors.registry import Registry
from natsume.adapters.nats.events import ActorEvents
from natsume.compose.conductor import conducting
from natsume.connected import connected
from natsume.connecting import claiming_of
from natsume.core.claim import place_of
from natsume.core.dispatch import task_id
from natsume.core.join import JoinState
from natsume.core.reaction import Due
from natsume.enums import Priority, Size
from natsume.exceptions import BrokerError
from natsume.model.record import When, child_id
from natsume.model.subject import Lane
from natsume.model.task import Reason, State, Task
from natsume.testing import task_done, until

RAN: list[str] = []
LANE = Lane(Priority.NORMAL, Size.SMALL)
LEAVE: list[asyncio.Event] = []


@dataclass
class Ship(BaseTask):
    unique = Unique()
    events = ("order.paid",)
    order: str

    async def execute(self):
        RAN.append(self.order)
        await LEAVE[0].wait()
        return self.order


@dataclass
class Weekly(BaseTask):
    unique = Unique(period_s=3600)
    order: str

    async def execute(self):
        RAN.append(self.order)


@dataclass
class ShipAll(BaseTask):
    orders: list[str]
    at_once: bool = False

    async def execute(self):
        return [await Ship(order).schedule(now=self.at_once) for order in self.orders]


@dataclass
class Tell(BaseTask):
    async def execute(self, results: JoinResults):
        return [one.state async for one in results]


@dataclass
class ShipAndTell(BaseTask):
    orders: list[str]
    when: str = "all_succeeded"

    async def execute(self, spawner: CallbackSpawner):
        ships = [Ship(order) for order in self.orders]
        return await spawner.spawn_with_callback(ships, Tell(), when=When(self.when))


@pytest.fixture
def natsume_registry():
    return Registry.of_classes({f"t:{cls.__name__}": cls for cls in (Ship, Weekly, ShipAll, Tell, ShipAndTell)})


@pytest.fixture(autouse=True)
async def _nothing_ran():
    RAN.clear()
    LEAVE[:] = [asyncio.Event()]


@pytest.fixture
async def conductor(natsume_broker, natsume_settings, natsume_registry):
    async with conducting(natsume_settings, natsume_registry):
        yield


@pytest.fixture
def claiming(natsume_broker):
    return claiming_of(natsume_broker, "test")


async def keys(broker):
    info = await broker.stream_info("KV_unique", subjects_filter=">")
    return sorted(info["state"].get("subjects") or ())


def child(actor="t:Ship", task="c", unique=Ship.unique):
    message = Task(task, actor, LANE, b'{"order": "a"}', parent="p")
    return Due(message, place=place_of(message, unique))


async def test_a_child_takes_the_place_and_frees_it(natsume_client, natsume_broker, natsume_worker, conductor):
    LEAVE[0].set()
    for _ in range(2):
        parent = await natsume_client.submit(ShipAll(["a"]))
        (token,) = await natsume_client.result(parent)
        done = await task_done(natsume_client, token)
        assert (done.state, done.parent, done.claim is None) == (State.COMPLETED, parent, False)
        await until(lambda: keys(natsume_broker), lambda found: not found)
    assert RAN == ["a", "a"]


async def test_a_duplicate_ends_and_says_who_holds_the_place(natsume_client, natsume_worker, conductor):
    holder = await natsume_client.submit(Ship("a"))
    await until(lambda: RAN)
    same, other = await natsume_client.result(await natsume_client.submit(ShipAll(["a", "b"])))
    done = await task_done(natsume_client, same)
    assert (done.state, done.letter) == (State.CANCELLED, None)
    assert done.failure.message == f"t:Ship is unique, and task {holder} holds its place"
    assert (await natsume_client.status(same)).state is State.CANCELLED
    LEAVE[0].set()
    for token in (holder, other):
        assert (await task_done(natsume_client, token)).state is State.COMPLETED
    assert sorted(RAN) == ["a", "b"]


async def test_of_equal_siblings_one_runs(natsume_client, natsume_worker, conductor):
    LEAVE[0].set()
    tokens = await natsume_client.result(await natsume_client.submit(ShipAll(["a"] * 5)))
    ends = [await task_done(natsume_client, token) for token in tokens]
    # Those that came after its end found the place free.
    completed = [done for done in ends if done.state is State.COMPLETED]
    assert len(RAN) == len(completed) >= 1
    assert {done.state for done in ends} <= {State.COMPLETED, State.CANCELLED}


async def test_a_join_counts_a_duplicate_as_failed_and_keeps_it(
    natsume_client, natsume_broker, natsume_worker, conductor
):
    holder = await natsume_client.submit(Ship("a"))
    await until(lambda: RAN)
    parent = await natsume_client.submit(ShipAndTell(["a"]))
    join = await natsume_client.result(parent)
    done = await task_done(natsume_client, child_id(parent, 0))
    assert (done.kind, done.letter.reason) == ("dead", Reason.DUPLICATE)

    async def blocked():
        found = await natsume_broker.joins.read([join])
        return found and found[join][0].state is JoinState.BLOCKED

    await until(blocked)
    going_on = await natsume_client.submit(ShipAndTell(["a"], "all_done"))
    callback = child_id(await natsume_client.result(going_on), "callback")
    assert await natsume_client.result(callback) == [State.CANCELLED]
    LEAVE[0].set()
    await task_done(natsume_client, holder)


async def test_a_group_of_a_service_may_be_unique(natsume_client, natsume_worker, conductor):
    LEAVE[0].set()
    join = await natsume_client.spawn_with_callback([Ship("a"), Ship("b")], Tell())
    assert await natsume_client.result(child_id(join, "callback")) == [State.COMPLETED] * 2


async def test_a_unique_child_cannot_be_submitted_before_the_commit(natsume_client, natsume_worker):
    done = await task_done(natsume_client, await natsume_client.submit(ShipAll(["a"], at_once=True)))
    assert (done.state, "not with now=True" in done.failure.message) == (State.FAILED, True)


async def test_what_was_reacted_to_before_is_not_taken_in_again(
    natsume_client, natsume_broker, natsume_worker, conductor, claiming
):
    LEAVE[0].set()
    await claiming.submit([child()])
    await task_done(natsume_client, "c")
    await until(lambda: keys(natsume_broker), lambda found: not found)
    await claiming.submit([child()])
    assert await keys(natsume_broker) == []
    assert (await natsume_client.status("c")).state is State.COMPLETED
    assert RAN == ["a"]


@pytest.mark.parametrize("step", ["record", "submit"])
async def test_what_died_after_its_claim_is_taken_in_by_the_next(
    natsume_client, natsume_broker, natsume_worker, conductor, claiming, monkeypatch, step
):
    async def die(*_, **__):
        raise BrokerError("gone")

    with monkeypatch.context() as dying:
        dying.setattr(natsume_broker.outgoing, step, die)
        with pytest.raises(BrokerError):
            await claiming.submit([child()])
    assert len(await keys(natsume_broker)) == 1
    LEAVE[0].set()
    await claiming.submit([child()])
    await task_done(natsume_client, "c")
    assert RAN == ["a"]


async def test_what_was_taken_in_is_no_duplicate_of_who_came_after_its_period(
    natsume_client, natsume_broker, natsume_start_worker, claiming
):
    mine = child("t:Weekly", "c", Weekly.unique)
    await claiming.submit([mine])
    found = await natsume_broker.claims.read(mine.place.key)
    await natsume_broker.claims.free(mine.place.key, found[1])  # as the period does
    await claiming.submit([child("t:Weekly", "later", Weekly.unique)])
    await claiming.submit([mine])
    await natsume_start_worker()
    for token in ("c", "later"):
        assert (await task_done(natsume_client, token)).state is State.COMPLETED
    assert RAN == ["a", "a"]


async def test_two_conductors_make_one_task(natsume_client, natsume_settings, natsume_worker, claiming):
    LEAVE[0].set()
    async with connected(natsume_settings) as another:
        both = claiming, claiming_of(another, "another")
        await asyncio.gather(*(one.submit([child(task=f"c{n}") for n in range(20)]) for one in both))
    ends = [await task_done(natsume_client, f"c{n}") for n in range(20)]
    assert len(RAN) == len([done for done in ends if done.state is State.COMPLETED]) >= 1


async def test_of_the_tasks_of_events_one_holds_the_place(natsume_client, natsume_broker, natsume_worker, conductor):
    looker = ActorEvents(natsume_broker.wire, natsume_broker.publisher, natsume_broker.request)
    await until(lambda: looker._info("t:Ship"), lambda found: found and found["num_waiting"])
    looker.close()

    async def paid():
        return task_id("order.paid", await natsume_client.publish("order.paid", {"order": "a"}), "t:Ship")

    holder = await paid()
    await until(lambda: RAN)
    duplicate = await task_done(natsume_client, await paid())
    assert (duplicate.state, holder in duplicate.failure.message) == (State.CANCELLED, True)
    LEAVE[0].set()
    assert (await task_done(natsume_client, holder)).state is State.COMPLETED
    assert RAN == ["a"]


def test_a_place_is_by_arguments_and_tenant():
    message = child().task
    assert place_of(message, None) is None
    assert place_of(message, Unique(by="id")) is None
    assert place_of(message, Unique()) != place_of(replace(message, tenant="lhcb"), Unique())
