"""What running tasks say of themselves: the last progress always, comments each, heartbeats where they say nothing."""

import asyncio
import time
from dataclasses import dataclass
from itertools import pairwise

import pytest

from natsume import BaseTask, Who
from natsume.adapters.nats.broker import Broker
from natsume.client import Client
from natsume.control import should_cancel
from natsume.exceptions import Unbound, UnknownTask, UsageError
from natsume.model import limits, times
from natsume.model.status import Status
from natsume.model.task import State
from natsume.model.told import Progress
from natsume.testing import DummyTask, task_done, until

from . import actors
from .actors import Deaf, Quick, Talking

ANNA = Who("anna", operator=True)


@dataclass
class Blocking(BaseTask):
    """Blocks the event loop until its heart has beaten, as a subscriber in a thread of its own would see."""

    async def execute(self):
        actors.RAN.append("blocking")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and "beat" not in actors.RAN:
            time.sleep(0.01)
        return "beat" in actors.RAN


@pytest.fixture
def natsume_registry() -> dict[str, type]:
    quick = type("QuickDummy", (DummyTask,), {"pause_s": 0.01})
    return actors.ACTORS | {"test:DummyTask": DummyTask, "test:Blocking": Blocking, "test:QuickDummy": quick}


async def progress_records(broker: Broker, token: str) -> list[bytes]:
    """A list that grows with each progress record of a task."""
    found: list[bytes] = []
    broker.wire.listen(f"record.progress.*.{token}", lambda _s, _r, body, _h: found.append(body))
    await broker.wire.flush()
    return found


async def test_the_last_progress_is_told_and_few_of_those_before(
    natsume_client: Client, natsume_broker: Broker, natsume_start_worker
) -> None:
    token = await natsume_client.submit(Talking(1000), track=True)
    told = await progress_records(natsume_broker, token)
    await natsume_start_worker()
    await until(lambda: "talked" in actors.RAN)
    status = await until(
        lambda: natsume_client.status(token), lambda status: status.progress and status.progress.done == 1000
    )
    assert status.progress == Progress(1000, 1000, "step 1000")
    assert [one.text for one in status.comments] == ["half of it was skipped"]
    assert status.comments[0].author == "cancel:Talking"
    assert 2 <= len(told) < 20
    actors.GO.set()
    assert (await task_done(natsume_client, token)).progress == Progress(1000, 1000, "step 1000")


async def test_the_end_holds_what_was_said_last_before_it_was_time(natsume_client: Client, natsume_worker) -> None:
    actors.GO.set()
    done = await task_done(natsume_client, await natsume_client.submit(Talking(3)))
    assert done.progress == Progress(3, 3, "step 3")


async def test_a_dummy_counts_and_stops_when_it_is_told(natsume_client: Client, natsume_worker) -> None:
    (actor,) = (one.cls for one in natsume_client.registry.actors if one.name == "test:QuickDummy")
    assert await natsume_client.result(await natsume_client.submit(actor(seconds=5))) == 5
    failed = await task_done(natsume_client, await natsume_client.submit(actor(seconds=2, fail=True)))
    assert (failed.state, failed.progress) == (State.FAILED, Progress(1, 2, "1 of 2 s"))
    token = await natsume_client.submit(DummyTask(seconds=100), track=True)
    await until(lambda: natsume_client.status(token), lambda status: status.progress is not None)
    await natsume_client.cancel(token)
    assert (await task_done(natsume_client, token)).comment == "cancelled after 1 of 100 s"


async def test_a_tracked_task_that_blocks_the_loop_has_a_heart_that_beats(
    natsume_client: Client, natsume_broker: Broker, natsume_start_worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "HEARTBEAT_S", 0.3)
    tell = type(natsume_broker.records).tell

    async def heard(self, record):
        await tell(self, record)
        actors.RAN.append("beat")

    monkeypatch.setattr(type(natsume_broker.records), "tell", heard)
    await natsume_start_worker()
    assert await natsume_client.result(await natsume_client.submit(Blocking(), track=True))


async def test_what_is_not_tracked_has_no_heartbeat(
    natsume_client: Client, natsume_broker: Broker, natsume_start_worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "HEARTBEAT_S", 0.1)
    await natsume_start_worker()
    other = await natsume_client.submit(Deaf())
    token = await natsume_client.submit(Deaf(), track=True)
    status = await until(lambda: natsume_client.status(token), lambda status: status.heartbeat_at is not None)
    assert status.state is State.RUNNING
    assert status.worker, "who runs it is known before it ends"
    found = await natsume_broker._records_reader.last(["record.heartbeat.*.*"])
    assert {one.subject.rpartition(".")[2] for one in found} == {token} != {other}
    actors.GO.set()


async def test_people_comment_too(natsume_client: Client) -> None:
    token = await natsume_client.submit(Quick(), track=True)
    await natsume_client.comment(token, "look at this", as_user=ANNA)
    (comment,) = (await natsume_client.status(token)).comments
    assert (comment.author, comment.text) == ("anna", "look at this")
    with pytest.raises(UnknownTask):
        await natsume_client.comment("nobody", "hello")
    with pytest.raises(UsageError):
        await natsume_client.comment(token, "x" * (limits.COMMENT_MAX + 1))


async def test_who_follows_is_told_of_each_change_until_the_end(
    natsume_client: Client, natsume_broker: Broker, natsume_start_worker
) -> None:
    token = await natsume_client.submit(Deaf(), track=True)
    seen: list[Status | None] = []
    note = seen.append

    async def follow() -> None:
        async for status in natsume_broker.inquiries.follow(token):
            note(status)

    following = asyncio.create_task(follow())
    await until(lambda: len(seen) == 1)
    await natsume_start_worker()
    await until(lambda: seen[-1].state is State.RUNNING)
    await natsume_client.cancel(token, why="too slow", as_user=ANNA)
    await until(lambda: seen[-1].flag is not None)
    actors.GO.set()
    async with asyncio.timeout(30):
        await following
    states = [status.state for status in seen]
    assert (states[0], states[-1]) == (State.ENQUEUED, State.COMPLETED)
    assert all(one != other for one, other in pairwise(seen))


def test_outside_a_task_nobody_is_told() -> None:
    with pytest.raises(Unbound, match="execute"):
        should_cancel()
