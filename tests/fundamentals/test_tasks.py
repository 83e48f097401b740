"""A task is a class: its fields are the arguments, its attributes say how it is run."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
from datetime import UTC, datetime

import msgspec
import pydantic
import pytest

import natsume
from natsume import binding
from natsume.exceptions import Unbound
from natsume.lock_registry import JOB


@dataclasses.dataclass
class SyncOwners(natsume.BaseTask):
    priority = natsume.Priority.REALTIME
    retry_policy = natsume.ExponentialBackoff(base_delay_seconds=5, max_retries=3)

    owner_name: str
    limit: int = 10

    @property
    def execution_locks(self):
        return [natsume.MutexLock(natsume.LockedObjectType.JOB, self.owner_name)]

    async def execute(self):
        return self.owner_name


class SyncStruct(natsume.BaseTask, msgspec.Struct):
    owner_name: str
    limit: int = 10
    timeout_s = 5.0


class SyncModel(natsume.BaseTask, pydantic.BaseModel):
    owner_name: str
    limit: int = 10
    timeout_s = 5.0
    priority = natsume.Priority.BACKGROUND


class Recorder:
    def __init__(self):
        self.calls = []

    async def schedule(self, task, *, at, labels, now):
        self.calls.append((task, at, labels, now))
        return "an-id"


def test_attributes_are_no_fields():
    assert SyncOwners("alice").serialize() == ("alice", 10)
    assert SyncOwners.priority is natsume.Priority.REALTIME
    assert SyncOwners.size is natsume.Size.SMALL
    assert SyncOwners.dlq_eligible is False


@pytest.mark.parametrize("cls", [SyncStruct, SyncModel])
def test_structs_and_models_are_tasks_too(cls):
    task = cls(owner_name="alice")
    assert task.serialize() == ("alice", 10)
    assert task.timeout_s == 5.0
    assert task.retry_policy == natsume.NoRetry()


async def test_schedule_uses_the_client_that_is_bound():
    recorder, task = Recorder(), SyncOwners("alice")
    with binding.bind(recorder):
        assert await task.schedule(datetime(2030, 1, 1, tzinfo=UTC), {"a": "b"}, now=True) == "an-id"
    assert recorder.calls == [(task, datetime(2030, 1, 1, tzinfo=UTC), {"a": "b"}, True)]


async def test_schedule_without_a_client_says_what_to_do():
    with pytest.raises(Unbound, match=r"no client is bound here: .* client.submit\(\)"):
        await SyncOwners("alice").schedule()


async def test_a_time_without_a_zone_is_refused():
    with binding.bind(Recorder()), pytest.raises(natsume.UsageError, match="a datetime with a time zone"):
        await SyncOwners("alice").schedule(datetime(2030, 1, 1))  # noqa: DTZ001


def test_bindings_nest():
    outer, inner = Recorder(), Recorder()
    with binding.bind(outer):
        with binding.bind(inner):
            assert binding.current() is inner
        assert binding.current() is outer


class TestAnOpenClient:
    @pytest.fixture
    def opened(self):
        """Opens clients, which are closed with the test."""
        opened = []

        def opening():
            opened.append(Recorder())
            binding.offer(opened[-1])
            return opened[-1]

        yield opening
        for one in opened:
            binding.withdraw(one)

    async def test_is_used_where_nothing_is_bound_until_it_is_closed(self, opened):
        outer = opened()
        inner = opened()
        assert binding.current() is inner
        bound = Recorder()
        with binding.bind(bound):
            assert binding.current() is bound
        binding.withdraw(inner)
        assert binding.current() is outer
        binding.withdraw(outer)
        with pytest.raises(Unbound, match=r"while natsume\.connect"):
            binding.current()

    async def test_inside_a_task_is_used_nowhere(self, opened):
        children = Recorder()
        with binding.bind(children):
            opened()
            assert binding.current() is children
        with pytest.raises(Unbound):
            binding.current()

    async def test_is_used_by_requests_whose_context_is_not_that_of_the_lifespan(self, opened):
        async def current():
            return binding.current()

        async def somewhere_else(coroutine):
            return await asyncio.get_running_loop().create_task(coroutine, context=contextvars.Context())

        async def lifespan():
            return opened()

        client = await somewhere_else(lifespan())
        assert await somewhere_else(current()) is binding.current() is client
        mine = opened()
        assert (await somewhere_else(current()), binding.current()) == (mine, mine)
        other = await somewhere_else(lifespan())
        assert (await somewhere_else(current()), binding.current()) == (other, mine)

    async def test_is_not_used_on_another_loop_or_without_one(self, opened):
        opened()

        async def current():
            return binding.current()

        for elsewhere in (binding.current, lambda: asyncio.run(current())):
            with pytest.raises(Unbound):
                await asyncio.to_thread(elsewhere)


def test_locks_are_values_in_one_order():
    locks = [natsume.MutexLock("job", 2), natsume.MutexLock("job", 1, "x"), natsume.MutexLock("JOB", 1)]
    assert [lock.key for lock in sorted(locks)] == ["1", "1", "2"]
    assert natsume.MutexLock("job", 1) == natsume.MutexLock("job", "1", ttl_ms=5)
    assert len({natsume.MutexLock("job", 1), natsume.MutexLock("job", 1)}) == 1
    assert locks[1].lock_key == "mutex:job:1:x"
    assert locks[1].bucket_key == "mutex.job.1.x"
    with pytest.raises(dataclasses.FrozenInstanceError):
        locks[0].key = "3"


def test_object_types_are_registered():
    assert natsume.LockedObjectType("job") is JOB is natsume.LockedObjectType.JOB
    with pytest.raises(natsume.UsageError, match=r"job, .*register_locked_object_type"):
        natsume.LockedObjectType("nothing")
    planet = natsume.register_locked_object_type("planet")
    assert natsume.register_locked_object_type("planet") is planet


@pytest.mark.parametrize("ttl", [0, -1, 1.5, True])
def test_a_lock_lives_some_milliseconds(ttl):
    with pytest.raises(natsume.UsageError, match="ttl_ms"):
        natsume.MutexLock("job", 1, ttl_ms=ttl)
