"""A broker is emptied: what the ledger knew and is to be kept goes on, once; the rest is told to be lost."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from natsume import chain
from natsume.actors.registry import Registry
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.enums import Size
from natsume.model.record import child_id
from natsume.testing import until

from .actors import ALL, RUNS, Alone, Group, Kept, Later, Lossy, Plain

REGISTRY = Registry.of_classes(ALL)


@pytest.fixture
def serve(natsume_settings, engine):
    """A client of the broker as it is now."""
    return lambda: connect(settings=natsume_settings, registry=REGISTRY)


async def known(states, ids, wanted: set[str]) -> None:
    await until(states, lambda found: {found.get(one) for one in ids} <= wanted and set(ids) <= set(found))


async def test_what_was_to_be_kept_goes_on(natsume_broker, natsume_settings, serve, states, wipe, engine, caplog):
    async with serve() as client, conducting(natsume_settings, REGISTRY), working(natsume_settings, REGISTRY):
        done = await client.submit(Kept("done"))
        dead = await client.submit(Kept("dead", 4))
        retried = await client.submit(Kept("retried", 3))
        group = await client.submit(Group())
        lossy = await client.submit(Lossy())
        await client.result(done)
        await until(lambda: client.status(dead), lambda found: found.state == "FAILED")
        await until(lambda: client.status(retried), lambda found: found.attempts >= 2)
    async with serve() as client, conducting(natsume_settings, REGISTRY):
        queued = await client.submit(Plain("queued"), track=True)
        owned = await client.submit(Plain("owned"), owner="ada", labels={"a": "b"})
        alone = await client.submit(Alone("alone"))
        delayed = await client.submit(Kept("delayed"), at=datetime.now(UTC) + timedelta(hours=1))
        late = await client.submit(Later("late"))
        ids = [queued, owned, alone, delayed, late, child_id(group, 0), child_id(lossy, 0)]
        await known(states, ids, {"ENQUEUED", "WAITING", "COMPLETED", "RUNNING"})
    before = dict(RUNS)
    wipe()
    async with serve() as client, conducting(natsume_settings, REGISTRY):
        join, lossy_join = child_id(group, "join-0"), child_id(lossy, "join-0")
        await until(lambda: "the broker is rebuilt:" in caplog.text)
        assert (await client.status(delayed)).state == "WAITING"
        assert await client.submit(Alone("alone")) == alone
        async with (
            working(natsume_settings, REGISTRY),
            working(natsume_settings, REGISTRY, Size.LARGE),
        ):
            for token in (queued, owned, alone, late, retried):
                await client.result(token)
            assert await client.result(child_id(join, "callback"), 20) == ["one", "two", "three"]
            assert await client.result(child_id(lossy_join, "failure"), 20) == "alarm"
            assert await client.result(done) == "done"
            lost = await client.status(child_id(lossy, 1))
            assert (lost.state, lost.done.letter.reason) == ("DROPPED", "unretryable")
            assert (await client.status(retried)).attempts == 4
            assert (await client.status(owned)).owner == "ada"
            letters = {one.done.id: one.done async for one in client.letters.ls()}
            assert set(letters) == {dead, child_id(lossy, 1)}
            assert "not yet" in letters[dead].failure.traceback
            again = await client.letters.replay(child_id(lossy, 1))
            assert await client.result(again) == "five"
            assert await client.result(child_id(lossy_join, "callback"), 20) == ["four", "five"]
            ended = [queued, owned, alone, late, retried, again, *(child_id(group, member) for member in range(3))]
            await known(states, ended, {"COMPLETED"})
            assert (await states())[child_id(lossy, 1)] == "DROPPED"
    assert RUNS["sum"] == RUNS["lossy"] == RUNS["alarm"] == RUNS["queued"] == RUNS["alone"] == 1
    for name in ("done", "dead", "one", "two", "four"):
        assert RUNS[name] == before[name]


async def test_a_chain_goes_on_and_links_that_had_not_come_are_not_lost(
    natsume_broker, natsume_settings, serve, states, wipe, engine, caplog
):
    async with serve() as client, conducting(natsume_settings, REGISTRY):
        last = await client.spawn(chain(Plain("x1"), Plain("x2"), Plain("x3")), owner="ada")
        await until(states, lambda found: "ENQUEUED" in found.values())
    wipe()
    async with serve() as client, conducting(natsume_settings, REGISTRY), working(natsume_settings, REGISTRY):
        assert await client.result(last) == "x3"
        assert "DROPPED" not in (await states()).values()
    assert (RUNS["x1"], RUNS["x2"], RUNS["x3"]) == (1, 1, 1)


async def test_conductors_that_stay_bring_it_back(
    natsume_broker, natsume_settings, serve, states, wipe, caplog, natsume_server
):
    caplog.set_level(logging.WARNING)
    async with (
        conducting(natsume_settings, REGISTRY),
        conducting(natsume_settings, REGISTRY),
        serve() as client,
    ):
        tokens = await client.submit_many([Kept(f"task {number}") for number in range(50)])
        await known(states, tokens, {"ENQUEUED"})
        await asyncio.to_thread(wipe)
        await until(lambda: "the broker is rebuilt:" in caplog.text)
        async with working(natsume_settings, REGISTRY):
            for token in tokens:
                await client.result(token)
    assert caplog.text.count("the broker is rebuilt:") == 1
    assert "50 tasks run again, 0 joins, 0 ends stand, 0 tasks are lost" in caplog.text
    assert set(RUNS.values()) == {1}


async def test_a_broker_that_was_not_lost_is_left_alone(
    natsume_broker, natsume_settings, serve, states, natsume_server, caplog
):
    caplog.set_level(logging.WARNING)
    async with conducting(natsume_settings, REGISTRY), serve() as client:
        tokens = await client.submit_many([Kept("a"), Kept("b")])
        await known(states, tokens, {"ENQUEUED"})
        natsume_server.kill()
        natsume_server.start()
        await until(lambda: natsume_broker.wire.is_connected)
    async with conducting(natsume_settings, REGISTRY), serve() as client, working(natsume_settings, REGISTRY):
        for token in tokens:
            await client.result(token)
    assert "rebuilt" not in caplog.text
    assert (await natsume_broker.stream_info("TASKS"))["state"]["last_seq"] == 2
