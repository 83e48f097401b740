"""What a cascade reaches: children, callbacks sent or not, children of `now=True`, however deep, each ended once."""

import random
from typing import Any

import pytest

from natsume.adapters.nats.broker import Broker
from natsume.client import Client
from natsume.core.join import JoinState
from natsume.exceptions import TaskFailed
from natsume.model import limits
from natsume.model.record import When, child_id
from natsume.model.subject import RECORDS
from natsume.model.task import State
from natsume.model.told import Flag
from natsume.testing import task_done, until

from . import actors
from .actors import Crowd, Dormitory, Hen, Herd, Line, Pair, Quick
from .facts import ANNA, is_cancelled, no_flag

pytestmark = pytest.mark.usefixtures("often", "natsume_worker", "natsume_conductor")


def join_of(parent: str, number: int = 0) -> str:
    return child_id(parent, f"join-{number}")


def callback_of(parent: str, number: int = 0) -> str:
    return child_id(join_of(parent, number), "callback")


async def state_of(broker: Broker, join: str) -> JoinState | None:
    found = await broker.joins.read([join])
    return found[join][0].state if join in found else None


async def waits(broker: Broker, token: str) -> bool:
    return bool(await broker.waiting.hops([token]))


async def family(client: Client, broker: Broker, task: object) -> str:
    """A parent that has ended, one member of which waits."""
    parent = await task_done(client, await client.submit(task, track=True))
    await until(lambda: waits(broker, child_id(parent.id, 0)))
    return parent.id


@pytest.mark.parametrize("when", When)
async def test_a_callback_that_is_not_sent_ends_cancelled_and_its_join_says_so(
    natsume_client: Client, natsume_broker: Broker, when: When
) -> None:
    parent = await family(natsume_client, natsume_broker, Crowd(when))
    assert await natsume_client.cancel(parent, cascade=True, as_user=ANNA)
    is_cancelled(await task_done(natsume_client, callback_of(parent)))
    assert (await task_done(natsume_client, child_id(parent, 0))).state is State.CANCELLED
    await until(lambda: "alarm" in actors.RAN)
    assert await state_of(natsume_broker, join_of(parent)) is JoinState.CANCELLED
    with pytest.raises(TaskFailed, match="CANCELLED"):
        await natsume_client.result(callback_of(parent))
    await no_flag(natsume_broker, parent)
    assert not await natsume_client.cancel(parent, cascade=True, as_user=ANNA)
    assert "callback" not in actors.RAN


@pytest.mark.parametrize("when", When)
async def test_a_parent_that_is_flagged_while_it_runs_opens_its_join_cancelled(
    natsume_client: Client, natsume_broker: Broker, when: When
) -> None:
    parent = await natsume_client.submit(Crowd(when, wait=True), track=True)
    await until(lambda: actors.RAN == ["crowd"])
    await natsume_client.cancel(parent, cascade=True, as_user=ANNA)
    actors.GO.set()
    is_cancelled(await task_done(natsume_client, callback_of(parent)))
    for index in range(2):
        assert (await task_done(natsume_client, child_id(parent, index))).state is State.CANCELLED
    await until(lambda: actors.RAN == ["crowd", "alarm"])
    assert await state_of(natsume_broker, join_of(parent)) is JoinState.CANCELLED


async def test_a_callback_that_runs_is_told(natsume_client: Client, natsume_broker: Broker) -> None:
    parent = await task_done(natsume_client, await natsume_client.submit(Pair(), track=True))
    await until(lambda: "patient" in actors.RAN)
    await until(lambda: state_of(natsume_broker, join_of(parent.id)), lambda state: state is JoinState.FIRED)
    assert await natsume_client.cancel(parent.id, cascade=True, as_user=ANNA)
    done = await task_done(natsume_client, callback_of(parent.id))
    is_cancelled(done)
    assert done.comment == "stopped: cancelled"
    assert await state_of(natsume_broker, join_of(parent.id)) is JoinState.FIRED


async def test_no_link_of_a_chain_runs_any_more(natsume_client: Client, natsume_broker: Broker) -> None:
    parent = await family(natsume_client, natsume_broker, Line())
    await natsume_client.cancel(parent, cascade=True, as_user=ANNA)
    for token in (child_id(parent, 0), child_id(parent, 1), child_id(parent, 2)):
        done = await task_done(natsume_client, token)
        assert (done.state, done.flagged) == (State.CANCELLED, True)
    assert actors.RAN == ["sleepy"]
    assert [await state_of(natsume_broker, join_of(parent, number)) for number in range(2)] == [JoinState.CANCELLED] * 2


async def test_members_that_were_submitted_from_chunks_are_reached(
    natsume_client: Client, natsume_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHUNK_MAX", 500)
    done = await task_done(natsume_client, await natsume_client.submit(Dormitory(10), track=True))
    members = [child_id(done.id, index) for index in range(10)]
    for token in members:
        await until(lambda token=token: waits(natsume_broker, token))
    assert done.chunks
    await until(lambda: natsume_broker.stream_info(RECORDS, subjects_filter="record.chunk.>"), _is_empty)
    await natsume_client.cancel(done.id, cascade=True, as_user=ANNA)
    for token in (*members, callback_of(done.id)):
        assert (await task_done(natsume_client, token)).state is State.CANCELLED


def _is_empty(info: dict[str, Any]) -> bool:
    return not info["state"].get("subjects")


async def test_a_callback_that_is_just_due_has_one_end(natsume_client: Client, natsume_broker: Broker) -> None:
    rng = random.Random(7)
    actors.GO.set()
    parents = []
    for _ in range(40):
        parents.append(await natsume_client.submit(Pair(), track=True))
        reached = len(actors.RAN) + rng.randint(0, 3)
        await until(lambda reached=reached: len(actors.RAN) >= reached)
        await natsume_client.cancel(parents[-1], cascade=True, as_user=ANNA)
    ends = {}
    for parent in parents:
        done = await task_done(natsume_client, parent)
        if done.groups:
            ends[parent] = await task_done(natsume_client, callback_of(parent))
    for parent, done in ends.items():
        over = {JoinState.FIRED} if done.state is State.COMPLETED else {JoinState.FIRED, JoinState.CANCELLED}
        await until(lambda parent=parent: state_of(natsume_broker, join_of(parent)), over.__contains__)
        info = await natsume_broker.stream_info(RECORDS, subjects_filter=f"record.done.*.{done.id}")
        assert len(info["state"]["subjects"]) == 1
    print(f"{len(ends)} groups: {sorted(str(done.state) for done in ends.values())}")


async def test_a_conductor_goes_on_where_a_canceller_of_what_had_ended_died(
    natsume_client: Client, natsume_broker: Broker
) -> None:
    parent = await family(natsume_client, natsume_broker, Crowd())
    assert await natsume_broker.flags.put(Flag(parent, "anna", natsume_broker.now(), cascade=True))
    is_cancelled(await task_done(natsume_client, callback_of(parent)))
    await no_flag(natsume_broker, parent)


async def test_children_of_now_are_cancelled_while_their_parent_runs(
    natsume_client: Client, natsume_broker: Broker
) -> None:
    parent = await natsume_client.submit(Herd(), track=True)
    child, herd = child_id(parent, 0), child_id(parent, 1)
    grandchild = child_id(herd, 0)
    for token in (child, grandchild):
        await until(lambda token=token: waits(natsume_broker, token))
    await natsume_client.cancel(parent, cascade=True, as_user=ANNA)
    for token in (child, grandchild):
        is_cancelled(await task_done(natsume_client, token))
    status = await natsume_client.status(herd)
    assert (status.flag.who, status.done) == ("anna", None), "it is told, and does not heed"
    actors.GO.set()
    for token in (parent, herd):
        assert (await task_done(natsume_client, token)).state is State.COMPLETED
        await no_flag(natsume_broker, token)


async def test_children_of_now_are_cancelled_after_their_parent_has_ended(
    natsume_client: Client, natsume_broker: Broker
) -> None:
    parent = await natsume_client.submit(Herd(deep=2), track=True)
    leaf = child_id(child_id(child_id(parent, 1), 1), 0)
    await until(lambda: waits(natsume_broker, leaf))
    actors.GO.set()
    await task_done(natsume_client, parent)
    await natsume_client.cancel(parent, cascade=True, as_user=ANNA)
    is_cancelled(await task_done(natsume_client, child_id(parent, 0)))
    await no_flag(natsume_broker, parent)
    assert await natsume_client.result(await natsume_client.submit(Quick("other"))) is None
    assert actors.RAN.count("sleepy") == 3


async def test_a_child_of_now_that_nobody_tracks_is_found_by_its_start(
    natsume_client: Client, natsume_broker: Broker
) -> None:
    parent = await natsume_client.submit(Hen())
    child = child_id(parent, 0)
    for token in (parent, child):  # known once they have run for a second
        await until(lambda token=token: natsume_broker.inquiries.status(token))
    await natsume_client.cancel(parent, cascade=True, as_user=ANNA)
    done = await task_done(natsume_client, child)
    is_cancelled(done)
    assert (done.comment, done.tracked) == ("stopped: cancelled", False)
    actors.GO.set()
    assert (await task_done(natsume_client, parent)).state is State.COMPLETED


async def test_a_replay_of_a_descendant_is_cancelled(natsume_client: Client, natsume_broker: Broker) -> None:
    parent = await family(natsume_client, natsume_broker, Crowd())
    member = child_id(parent, 0)
    await natsume_client.cancel(member, as_user=ANNA)
    await task_done(natsume_client, member)
    replay = await natsume_client.letters.replay(member)
    await until(lambda: waits(natsume_broker, replay))
    await natsume_client.cancel(parent, cascade=True, as_user=ANNA)
    assert (await task_done(natsume_client, replay)).state is State.CANCELLED
    is_cancelled(await task_done(natsume_client, callback_of(parent)))
    again = await natsume_client.letters.replay(replay)
    await until(lambda: waits(natsume_broker, again))
    assert "callback" not in actors.RAN
