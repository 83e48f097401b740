"""Who rebuilds a lost broker, when, what comes first, and what becomes of one that dies at it."""

import asyncio
import sys
from importlib.metadata import EntryPoint, EntryPoints

import msgspec
import pytest

from natsume.actors.registry import Registry
from natsume.adapters.sql.ledger import SqlLedger
from natsume.adapters.sql.remains import SqlEpochs
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.connected import connected
from natsume.connecting import connect
from natsume.core.projection import project
from natsume.exceptions import StartupFailed
from natsume.model import limits, times
from natsume.model.config import Applied, TasksConfig
from natsume.model.record import Started
from natsume.model.tick import Mark
from natsume.restoring import startup
from natsume.restoring.restoration import restorer_of
from natsume.testing import until

from .actors import ALL, RUNS, Kept

REGISTRY = Registry.of_classes(ALL)
TOLD: list[str] = []


def told() -> None:
    TOLD.append("plain")


async def told_async() -> None:
    TOLD.append("async")


def fails() -> None:
    raise ValueError("no table")


@pytest.fixture
def hooks(monkeypatch):
    """Entry points of these functions of this module."""
    TOLD.clear()
    monkeypatch.setitem(sys.modules, "hooks_of_a_test", sys.modules[__name__])

    def install(*names: str) -> None:
        points = [EntryPoint(name, f"hooks_of_a_test:{name}", "natsume.broker_startup") for name in names]
        monkeypatch.setattr(startup, "entry_points", lambda group: EntryPoints(points).select(group=group))

    return install


@pytest.fixture
async def lost(natsume_settings, natsume_broker, states, wipe, engine):
    """Ten tasks that the ledger knows, and a broker that was emptied since."""
    async with connect(settings=natsume_settings, registry=REGISTRY) as client, conducting(natsume_settings, REGISTRY):
        tokens = await client.submit_many([Kept(f"task {number}") for number in range(10)])
        await until(states, lambda found: set(found) == set(tokens))
    wipe()
    await until(lambda: natsume_broker.wire.is_connected)
    return tokens


async def all_run_once(natsume_settings, tokens) -> None:
    async with connect(settings=natsume_settings, registry=REGISTRY) as client, working(natsume_settings, REGISTRY):
        for token in tokens:
            await client.result(token)
    assert set(RUNS.values()) == {1}


async def test_users_are_told_first_and_what_they_set_is_there(natsume_settings, natsume_broker, engine, wipe, hooks):
    hooks("told", "told_async")
    async with conducting(natsume_settings, REGISTRY):
        applied = Applied(TasksConfig(vos=("lhcb",)), "ada", 1.0, "hash")
        await natsume_broker.config.put(applied, 0)
        await natsume_broker.schedules.mark("some", Mark(paused_by="ada"))
        epochs = SqlEpochs(engine)
        await until(epochs.configuration, lambda found: set(found) == {"tasks", "schedule.some"})
    assert TOLD == []
    wipe()
    async with connected(natsume_settings) as broker, conducting(natsume_settings, REGISTRY):
        broker.follow_epoch()
        marks = await until(lambda: broker.schedules.marks(["some"]))
        assert marks["some"].paused_by == "ada"
        assert (await until(broker.config.read, lambda found: found[0] is not None))[0] == applied
        assert TOLD == ["plain", "async"]
        assert broker.leases.epoch == 1
        await broker.refresh()
        assert broker.leases.epoch == 1


async def test_nothing_is_restored_before_users_are_told(natsume_settings, lost, engine, hooks):
    hooks("told", "fails")
    async with connected(natsume_settings) as broker:
        restorer = restorer_of(broker, engine, natsume_settings, REGISTRY)
        with pytest.raises(StartupFailed, match="ValueError: no table"):
            await restorer.once()
        assert (await broker.stream_info("TASKS"))["state"]["messages"] == 0
        hooks("told")
        assert (await restorer.once()).counts.tasks == 10


async def test_one_that_dies_is_followed_by_another(natsume_settings, lost, engine, monkeypatch):
    monkeypatch.setattr(limits, "RESTORE_PAGE", 3)
    monkeypatch.setattr(times, "RESTORE_CLAIM_S", 1.0)
    async with connected(natsume_settings) as broker:
        first = restorer_of(broker, engine, natsume_settings, REGISTRY)
        claim, count = SqlEpochs.claim, 0

        async def dies(self, *arguments):
            nonlocal count
            count += 1
            if count == 4:
                raise asyncio.CancelledError
            return await claim(self, *arguments)

        with monkeypatch.context() as dying:
            dying.setattr(SqlEpochs, "claim", dies)
            with pytest.raises(asyncio.CancelledError):
                await first.once()
        assert 0 < (await broker.stream_info("TASKS"))["state"]["messages"] < 10
    async with conducting(natsume_settings, REGISTRY):
        async with connected(natsume_settings) as broker:
            await until(lambda: broker.stream_info("TASKS"), lambda info: info["state"]["messages"] >= 10)
        await all_run_once(natsume_settings, lost)


async def test_a_second_time_changes_nothing(natsume_settings, lost, engine):
    async with connected(natsume_settings) as broker:
        assert (await restorer_of(broker, engine, natsume_settings, REGISTRY).once()).counts.tasks == 10
        before = [(await broker.stream_info(name))["state"]["last_seq"] for name in ("TASKS", "RECORDS", "KV_config")]
        assert await restorer_of(broker, engine, natsume_settings, REGISTRY).once() is None
        after = [(await broker.stream_info(name))["state"]["last_seq"] for name in ("TASKS", "RECORDS", "KV_config")]
        assert after == before


async def test_what_runs_in_the_new_broker_already_is_left_alone(natsume_settings, lost, engine):
    """Such as a task of a service that was faster than the restorer."""
    async with connected(natsume_settings) as broker:
        await SqlEpochs(engine).meet(broker.records_created)
        record = Started("faster", "r:Plain", 1, "w", broker.now())
        changes = project([("record.started.1.faster", msgspec.json.encode(record))])
        await SqlLedger(engine).project(changes, broker.records_created, 1)
        assert (await restorer_of(broker, engine, natsume_settings, REGISTRY).once()).counts.dropped == 0
        assert await broker.inquiries.ends(["faster"]) == {}


async def test_a_broker_that_comes_back_after_another_is_rebuilt_too(engine):
    epochs = SqlEpochs(engine)
    assert {(await epochs.meet("one")).number for _ in range(3)} == {1}
    two = await epochs.meet("two")
    assert (two.number, two.restored) == (2, False)
    assert await epochs.claim(2, "a", 100.0)
    assert not await epochs.claim(2, "b", 101.0)
    assert await epochs.claim(2, "a", 105.0)
    assert not await epochs.claim(2, "b", 114.0)
    assert await epochs.claim(2, "b", 116.0)
    await epochs.finish(2)
    assert (await epochs.meet("two")).restored
    one = await epochs.meet("one")
    assert (one.number, one.restored) == (3, False)
