"""Unique tasks on a real broker: one task of many submissions, over deaths between claim and task."""

import asyncio
import contextlib
from dataclasses import dataclass

import pytest

from natsume import BaseTask, DuplicateTask, Unique
from natsume.actors.registry import Registry
from natsume.adapters.nats.direct import DirectReader
from natsume.compose.conductor import conducting
from natsume.connecting import connect
from natsume.exceptions import BrokerError
from natsume.model.task import State
from natsume.testing import task_done, until

RAN: list[str] = []


@dataclass
class Ship(BaseTask):
    unique = Unique()
    order: str
    fail: bool = False

    async def execute(self):
        RAN.append(self.order)
        if self.fail:
            raise ValueError("lost at sea")


@dataclass
class Plain(BaseTask):
    name: str

    async def execute(self):
        RAN.append(self.name)


@pytest.fixture
def natsume_registry():
    return Registry.of_classes({"t:Ship": Ship, "t:Plain": Plain})


@pytest.fixture(autouse=True)
def _nothing_ran():
    RAN.clear()


@pytest.fixture
async def conductor(natsume_broker, natsume_settings, natsume_registry):
    async with conducting(natsume_settings, natsume_registry):
        yield


async def keys(broker):
    info = await broker.stream_info("KV_unique", subjects_filter=">")
    return sorted(info["state"].get("subjects") or ())


async def test_a_duplicate_is_told_which_task_holds_the_place(natsume_client, natsume_broker):
    token = await natsume_client.submit(Ship("a"))
    assert await natsume_client.submit(Ship("a")) == token
    with pytest.raises(DuplicateTask, match=f"task {token} holds its place") as caught:
        await natsume_client.submit(Ship("a"), on_duplicate="raise")
    assert caught.value.token == token
    assert await natsume_client.submit(Ship("b")) != token
    assert await natsume_client.submit(Ship("a"), tenant="lhcb") != token
    assert (await natsume_broker.stream_info("TASKS"))["state"]["messages"] == 3
    assert (await natsume_client.status(token)).state is State.ENQUEUED


@pytest.mark.parametrize("fail", [False, True], ids=["done", "failed"])
async def test_its_end_frees_the_place(natsume_client, natsume_broker, natsume_worker, conductor, fail):
    first = await natsume_client.submit(Ship("a", fail))
    done = await task_done(natsume_client, first)
    assert (done.kind, done.claim is None) == ("effects", False)
    await until(lambda: keys(natsume_broker), lambda found: not found)
    second = await natsume_client.submit(Ship("a", fail))
    await task_done(natsume_client, second)
    assert (second != first, RAN) == (True, ["a", "a"])


async def test_without_a_conductor_the_next_submission_frees_the_place(natsume_client, natsume_worker):
    first = await natsume_client.submit(Ship("a"))
    await task_done(natsume_client, first)
    second = await natsume_client.submit(Ship("a"))
    assert second != first
    await task_done(natsume_client, second)
    assert RAN == ["a", "a"]


async def test_twenty_clients_make_one_task(natsume_settings, natsume_registry, natsume_broker, natsume_start_worker):
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connect(settings=natsume_settings, registry=natsume_registry))
            for _ in range(20)
        ]
        tokens = await asyncio.gather(*(client.submit(Ship("a")) for client in clients))
        assert len(set(tokens)) == 1
        await natsume_start_worker()
        await task_done(clients[0], tokens[0])
        await until(lambda: natsume_broker.stream_info("TASKS"), lambda info: info["state"]["messages"] == 0)
    assert RAN == ["a"]


class Died(Exception):
    pass


@pytest.mark.parametrize("step", ["record", "submit"])
@pytest.mark.parametrize("delay", [None, 1.0], ids=["now", "later"])
async def test_who_finds_a_claim_without_its_task_sends_it(natsume_client, natsume_worker, monkeypatch, step, delay):
    async def die(*_, **__):
        raise Died

    step = "arm" if delay and step == "submit" else step
    with monkeypatch.context() as dying:
        dying.setattr(natsume_client._outgoing, step, die)
        with pytest.raises(Died):
            await natsume_client.submit(Ship("a"), delay=delay)
    token = await natsume_client.submit(Ship("a"), delay=delay)
    assert (await task_done(natsume_client, token)).state is State.COMPLETED
    assert RAN == ["a"]


async def test_a_claim_whose_acknowledgement_was_lost_is_ones_own(natsume_client, natsume_broker, monkeypatch):
    claims = natsume_client._uniqueness._claims
    create = claims.create

    async def lost(key, claim):
        monkeypatch.setattr(claims, "create", create)
        await create(key, claim)
        raise BrokerError("no answer")

    monkeypatch.setattr(claims, "create", lost)
    token = await natsume_client.submit(Ship("a"), on_duplicate="raise")
    assert (await natsume_client.status(token)).state is State.ENQUEUED
    assert (await natsume_broker.stream_info("TASKS"))["state"]["messages"] == 1


async def test_an_end_frees_no_other_tasks_place(natsume_client, natsume_broker):
    token = await natsume_client.submit(Ship("a"))
    (key,) = [name.removeprefix("$KV.unique.") for name in await keys(natsume_broker)]
    await natsume_broker.claims.free_ended({key: "another"})
    assert (await natsume_broker.claims.read(key))[0].id == token
    _, revision = await natsume_broker.claims.read(key)
    await natsume_broker.claims.free_ended({key: token})
    await natsume_broker.claims.free(key, revision)
    assert await natsume_broker.claims.read(key) is None


async def test_a_period_holds_the_place_beyond_the_end(natsume_client, natsume_broker, natsume_worker, conductor):
    hourly = Unique(period_s=3600)
    token = await natsume_client.submit(Plain("a"), unique=hourly)
    done = await task_done(natsume_client, token)
    assert done.claim is None
    assert await natsume_client.submit(Plain("a"), unique=hourly) == token
    (key,) = await keys(natsume_broker)
    (stored,) = await DirectReader(natsume_broker.wire, "KV_unique").last([key])
    assert stored.headers["Nats-TTL"] == "3600s"
    assert RAN == ["a"]


async def test_after_the_period_the_next_one_comes(natsume_client, natsume_worker, conductor):
    token = await natsume_client.submit(Plain("a"), unique=Unique(period_s=1))

    async def another():
        return await natsume_client.submit(Plain("a"), unique=Unique(period_s=1))

    second = await until(another, lambda found: found != token)
    await task_done(natsume_client, second)
    assert RAN == ["a", "a"]


async def test_by_id_the_same_id_comes_once_whatever_its_arguments(
    natsume_client, natsume_broker, natsume_worker, conductor
):
    by_id = Unique(by="id")
    for name in ("a", "b"):
        assert await natsume_client.submit(Plain(name), id="plain-1", unique=by_id) == "plain-1"
    await task_done(natsume_client, "plain-1")
    with pytest.raises(DuplicateTask):
        await natsume_client.submit(Plain("c"), id="plain-1", unique=by_id, on_duplicate="raise")
    await until(lambda: keys(natsume_broker), lambda found: not found)
    assert RAN == ["a"]


async def test_many_at_once_are_each_unique(natsume_client):
    tokens = await natsume_client.submit_many([Ship("a"), Plain("p"), Ship("a"), Ship("b")])
    assert (tokens[0] == tokens[2], len(set(tokens))) == (True, 3)


async def test_a_claim_that_nobody_can_read_is_told(natsume_client, natsume_broker):
    await natsume_client.submit(Ship("a"))
    (name,) = await keys(natsume_broker)
    await natsume_broker.publisher.publish(name.encode(), b"", b"{")
    with pytest.raises(BrokerError, match="cannot be read"):
        await natsume_client.submit(Ship("a"))
