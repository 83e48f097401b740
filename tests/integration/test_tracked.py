"""What is tracked has its submitted record before it can run: submissions, children and callbacks alike."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from natsume import BaseTask, CallbackSpawner
from natsume.model.record import Submitted, child_id
from natsume.testing import until


@dataclass
class Plain(BaseTask):
    number: int

    async def execute(self) -> int:
        return self.number


@dataclass
class Kept(BaseTask):
    number: int
    dlq_eligible = True

    async def execute(self) -> int:
        return self.number


class Parent(BaseTask):
    async def execute(self, spawn: CallbackSpawner) -> str:
        await Plain(1).schedule()
        await Kept(2).schedule()
        await Kept(3).schedule(at_time=datetime(2100, 1, 1, tzinfo=UTC))
        await Kept(4).schedule(now=True)
        return await spawn.spawn_with_callback([Plain(5)], Kept(6))


@pytest.fixture
def natsume_registry():
    return {f"t:{cls.__name__}": cls for cls in (Plain, Kept, Parent)}


@pytest.fixture
def submitted(natsume_broker):
    async def read(token: str) -> Submitted | None:
        found = await natsume_broker._records_reader.last([f"record.submitted.task.{token}"])
        return msgspec.json.decode(found[0].body, type=Submitted) if found else None

    return read


async def test_track_says_whether_whatever_the_actor(natsume_client, submitted):
    tokens = [
        await natsume_client.submit(Plain(1), track=True),
        *await natsume_client.submit_many([Plain(1)], track=True),
        *await natsume_client.submit_many([Kept(1)]),
        *await natsume_client.submit_many([Plain(1)], owner="ada"),
    ]
    assert all([await submitted(token) for token in tokens])
    assert {(await natsume_client.status(token)).state for token in tokens} == {"ENQUEUED"}
    tokens = [
        await natsume_client.submit(Kept(1), track=False),
        *await natsume_client.submit_many([Kept(1)], track=False),
        *await natsume_client.submit_many([Plain(1)]),
    ]
    assert not any([await submitted(token) for token in tokens])


async def test_a_delayed_submission_knows_when_it_is_due(natsume_client, submitted):
    at = datetime.now(UTC) + timedelta(hours=1)
    token = await natsume_client.submit(Plain(1), at=at, track=True)
    assert (await submitted(token)).due == at.timestamp()


async def test_children_of_tracked_actors_are_tracked(natsume_client, natsume_worker, natsume_conductor, submitted):
    token = await natsume_client.submit(Parent())
    join = await natsume_client.result(token)
    callback = child_id(join, "callback")
    assert await until(lambda: natsume_client.result(callback)) == 6
    children = [await submitted(child_id(token, index)) for index in range(5)]
    assert [None if one is None else msgspec.json.decode(one.body)["number"] for one in children] == [
        None,
        2,
        3,
        4,
        None,
    ]
    assert children[2].due == datetime(2100, 1, 1, tzinfo=UTC).timestamp()
    assert (await submitted(callback)).id == callback


async def test_children_of_an_owner_are_tracked(natsume_client, natsume_worker, natsume_conductor, submitted):
    token = await natsume_client.submit(Parent(), owner="ada")
    join = await natsume_client.result(token)
    assert await until(lambda: natsume_client.result(child_id(join, "callback"))) == 6
    assert all([await submitted(child_id(token, index)) for index in range(5)])
