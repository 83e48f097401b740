"""Chunks of runs that never commit are removed; those that somebody will read stay."""

from dataclasses import dataclass

import msgspec
import pytest

from natsume import BaseTask, UnretryableError
from natsume.actors.registry import Registry
from natsume.compose.conductor import conducting
from natsume.model import limits, times
from natsume.model.record import Child, Chunk, child_id
from natsume.model.task import State
from natsume.runtime.sweeper import Sweeper
from natsume.testing import task_done, until

CHUNK = Chunk((Child("c", "t:Leaf", "normal.small", msgspec.Raw(b"{}")),))


@dataclass
class Leaf(BaseTask):
    async def execute(self):
        return None


@dataclass
class Spawns(BaseTask):
    count: int
    fails: bool = False

    async def execute(self):
        for _ in range(self.count):
            await Leaf().schedule()
        if self.fails:
            raise UnretryableError("after its chunks")


@pytest.fixture
def natsume_registry():
    return Registry.of_classes({"t:Leaf": Leaf, "t:Spawns": Spawns})


@pytest.fixture
def sweeper(natsume_broker):
    return Sweeper(natsume_broker.old_chunks, natsume_broker.inquiries, natsume_broker.now)


@pytest.fixture
def tasks_of(natsume_broker):
    async def look():
        return sorted({name.task_id for name in await natsume_broker.old_chunks.names()})

    return look


async def test_chunks_of_a_run_that_failed_are_swept(
    natsume_client, natsume_broker, natsume_worker, sweeper, tasks_of, monkeypatch
):
    monkeypatch.setattr(limits, "CHUNK_MAX", 1000)
    token = await natsume_client.submit(Spawns(50, fails=True))
    assert (await task_done(natsume_client, token)).state is State.FAILED
    assert await tasks_of() == [token]
    assert await sweeper.once() > 1
    assert (await tasks_of(), await sweeper.once()) == ([], 0)


async def test_what_the_reactor_still_has_to_read_stays(
    natsume_client, natsume_broker, natsume_worker, natsume_settings, natsume_registry, sweeper, tasks_of, monkeypatch
):
    monkeypatch.setattr(limits, "CHUNK_MAX", 1000)
    token = await natsume_client.submit(Spawns(50))
    done = await task_done(natsume_client, token)
    assert done.chunks > 1
    # A run of the same task that was killed, and one of a task that may still commit.
    await natsume_broker.chunks.write(token, "killed", 0, CHUNK)
    await natsume_broker.chunks.write("running", "run", 0, CHUNK)
    assert await sweeper.once() == 1
    assert await tasks_of() == sorted([token, "running"])
    async with conducting(natsume_settings, natsume_registry):
        await task_done(natsume_client, child_id(token, 49))
        await until(tasks_of, lambda found: found == ["running"])


async def test_what_a_killed_run_wrote_is_swept_though_the_next_run_was_plain(
    natsume_client, natsume_broker, natsume_worker, sweeper, tasks_of
):
    await natsume_broker.chunks.write("t", "killed", 0, CHUNK)
    await natsume_client.submit(Leaf(), id="t")
    assert (await task_done(natsume_client, "t")).kind == "plain"
    await sweeper.once()
    assert await tasks_of() == []


async def test_what_nobody_ever_commits_goes_after_its_time(natsume_broker, sweeper, tasks_of, monkeypatch):
    await natsume_broker.chunks.write("lost", "run", 0, CHUNK)
    assert await sweeper.once() == 0
    now = natsume_broker.now()
    later = Sweeper(natsume_broker.old_chunks, natsume_broker.inquiries, lambda: now + times.CHUNK_WAITS_S + 60)
    assert await later.once() == 1
    assert await tasks_of() == []


async def test_a_conductor_sweeps(natsume_broker, natsume_client, natsume_worker, natsume_settings, natsume_registry):
    await natsume_broker.chunks.write("t", "killed", 0, CHUNK)
    await natsume_client.submit(Leaf(), id="t")
    await task_done(natsume_client, "t")
    async with conducting(natsume_settings, natsume_registry):
        await until(natsume_broker.old_chunks.names, lambda names: names == [])
