"""A broker is emptied while what a join called is a dead letter, or the replay of one: it still reads its members."""

import json
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from sqlalchemy import delete

from natsume.actors.registry import Registry
from natsume.adapters.sql.ledger import SqlLedger
from natsume.adapters.sql.schema import joins, tasks
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.model.record import child_id
from natsume.model.task import State
from natsume.runtime.join_pruner import JoinPruner
from natsume.testing import task_done, until

from .actors import ALL, RUNS, Alarmed, Called, Tally

REGISTRY = Registry.of_classes(ALL)
KEEP = {State.COMPLETED: 7 * 86_400.0, State.FAILED: 90 * 86_400.0}


@pytest.fixture
def serve(natsume_settings, engine):
    """A client, a conductor, and a worker where one is wanted."""

    @asynccontextmanager
    async def run(*, worker: bool = True):
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(connect(settings=natsume_settings, registry=REGISTRY))
            await stack.enter_async_context(conducting(natsume_settings, REGISTRY))
            if worker:
                await stack.enter_async_context(working(natsume_settings, REGISTRY))
            yield client

    return run


@pytest.fixture
def dies(states, monkeypatch):
    """Runs a group until its callbacks have ended, one of them as a dead letter; the parent's id and the letter's."""

    async def run(client, group: object, dead: str = "callback") -> tuple[str, str]:
        monkeypatch.setattr(Tally, "broken", True)
        parent = await client.submit(group, track=True)
        join = child_id(parent, "join-0")
        await until(states, lambda found: found.get(child_id(join, dead)) == "FAILED")
        await until(states, lambda found: found.get(child_id(join, "callback")) in {"FAILED", "COMPLETED"})
        monkeypatch.setattr(Tally, "broken", False)
        return parent, child_id(join, dead)

    return run


@pytest.fixture
def rebuilt(caplog):
    """Waits until a conductor has rebuilt the broker."""

    async def wait() -> None:
        await until(lambda: "the broker is rebuilt:" in caplog.text)

    return wait


@pytest.mark.parametrize(
    ("group", "dead", "name", "read"),
    [(Called(), "callback", "tally", ["one", "two"]), (Alarmed(), "failure", "alarm", ["one", "FAILED"])],
)
async def test_its_replay_reads_how_the_members_ended(
    natsume_broker, serve, dies, wipe, rebuilt, group, dead, name, read
):
    async with serve() as client:
        _, letter = await dies(client, group, dead)
    before = dict(RUNS)
    wipe()
    async with serve() as client:
        await rebuilt()
        assert await client.result(await client.letters.replay(letter)) == read
    assert before | {name: 2} == RUNS


async def test_commands_recreate_and_replay(natsume_broker, serve, dies, natsume_command):
    async with serve() as client:
        _, letter = await dies(client, Called())
        code, _, err = await natsume_command("restore", "--recreate")
        assert code == 0, err
        code, out, err = await natsume_command("dead", "replay", letter, "--json")
        assert code == 0, err
        assert await client.result(json.loads(out)[0]["replay"]) == ["one", "two"]


async def test_a_replay_that_waited_goes_on(natsume_broker, serve, dies, wipe, rebuilt, states):
    async with serve() as client:
        _, letter = await dies(client, Called())
    async with serve(worker=False) as client:
        again = await client.letters.replay(letter)
        await until(states, lambda found: found.get(again) == "ENQUEUED")
    wipe()
    async with serve() as client:
        await rebuilt()
        await until(states, lambda found: found.get(again) == "COMPLETED")
        assert await client.result(again) == ["one", "two"]


async def test_the_join_goes_when_the_last_replay_has_read_it(
    natsume_broker, serve, dies, wipe, rebuilt, states, engine
):
    async with serve() as client:
        parent, letter = await dies(client, Called())
    wipe()
    broker, join = natsume_broker, child_id(parent, "join-0")
    pruner = JoinPruner(SqlLedger(engine), broker.old_records, broker.old_joins, lambda: broker.now() + 1, KEEP, 0.0)

    async def unprojected() -> int:
        return (await broker.stream_info("RECORDS"))["state"]["last_seq"] - await broker.old_records.settled()

    async with serve() as client:
        await rebuilt()
        await until(unprojected, lambda left: left == 0)
        assert await pruner.once() == 0
        again = await client.letters.replay(letter)
        assert await client.result(again) == ["one", "two"]
        await until(states, lambda found: found.get(again) == "COMPLETED")
        await until(unprojected, lambda left: left == 0)
        assert await pruner.once() == 1
        assert await broker.joins.read([join]) == {}


@pytest.mark.parametrize("gone", ["join", "member"])
async def test_what_the_ledger_has_lost_is_said_in_a_sentence(natsume_broker, serve, dies, wipe, rebuilt, engine, gone):
    async with serve() as client:
        parent, letter = await dies(client, Called())
    wipe()
    lost = {"join": delete(joins), "member": delete(tasks).where(tasks.c.id == child_id(parent, 1))}
    async with engine.begin() as connection:
        await connection.execute(lost[gone])
    named = {"join": child_id(parent, "join-0"), "member": child_id(parent, 1)}
    async with serve() as client:
        await rebuilt()
        done = await task_done(client, await client.letters.replay(letter))
    assert done.failure.type == "UsageError"
    assert named[gone] in done.failure.message
    assert "submit the group again" in done.failure.message
    assert done.letter is not None
