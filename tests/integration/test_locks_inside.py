"""`async with lock:` inside execute(): one holder at a time, told who has it, given back at the block's end."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar

import pytest

from natsume import BaseTask, ExclusiveRWLock, ExponentialBackoff, MutexLock, RateLimiter, Semaphore, SharedRWLock
from natsume.exceptions import LockNotAcquired, Unbound, UsageError
from natsume.model.lock import Holding
from natsume.model.task import State
from natsume.testing import leases, task_done, until

inside: list[str] = []
most: dict[str, int] = {}


@pytest.fixture(autouse=True)
def fresh():
    inside.clear()
    most.clear()
    Holds.go_on = asyncio.Event()


@dataclass
class Counts(BaseTask):
    """Counts who is in a block with it, and how many at most."""

    kind: str

    async def execute(self) -> int:
        lock = {
            "mutex": MutexLock("JOB", 7, wait_s=20),
            "two": Semaphore("JOB", 7, permits=2, wait_s=20),
            "reader": SharedRWLock("JOB", 7, wait_s=20),
            "writer": ExclusiveRWLock("JOB", 7, wait_s=20),
        }[self.kind]
        async with lock as held:
            inside.append(self.kind)
            assert self.kind == "writer" or "writer" not in inside
            assert self.kind != "writer" or inside == ["writer"]
            most[self.kind] = max(most.get(self.kind, 0), inside.count(self.kind))
            await asyncio.sleep(0.01)
            inside.remove(self.kind)
            return held.token


@dataclass
class Holds(BaseTask):
    """Holds a mutex until it is told to go on."""

    retry_policy = ExponentialBackoff(0.1, 20)
    go_on: ClassVar[asyncio.Event]
    wait_s: float = 0.2
    ttl_ms: int = 2000

    async def execute(self) -> str:
        async with MutexLock("JOB", 7, wait_s=self.wait_s, ttl_ms=self.ttl_ms):
            inside.append("held")
            await self.go_on.wait()
        return "done"


@dataclass
class Nests(BaseTask):
    @property
    def execution_locks(self):
        return [MutexLock("JOB", "outer")]

    async def execute(self) -> list[int]:
        async with MutexLock("JOB", "outer") as same, MutexLock("JOB", 7) as first, MutexLock("JOB", 7) as again:
            tokens = [same.token, first.token, again.token]
        async with MutexLock("JOB", 7) as later:
            return [*tokens, later.token]


@dataclass
class Upgrades(BaseTask):
    async def execute(self) -> None:
        async with SharedRWLock("JOB", 7), ExclusiveRWLock("JOB", 7):
            pass


class OncePerSecond(RateLimiter):
    limit = 1


@dataclass
class WaitsForARate(BaseTask):
    async def execute(self) -> None:
        async with OncePerSecond("JOB", 7):
            pass


@pytest.fixture
def natsume_registry():
    return {f"inside:{cls.__name__}": cls for cls in (Counts, Holds, Nests, Upgrades, WaitsForARate)}


@pytest.mark.parametrize(("kinds", "together"), [(["mutex"], {"mutex": 1}), (["two"], {"two": 2})])
async def test_no_more_than_the_permits_are_inside(natsume_worker, natsume_client, kinds, together):
    asked = [await natsume_client.submit(Counts(kinds[number % len(kinds)])) for number in range(12)]
    tokens = [await natsume_client.result(one) for one in asked]
    assert len(set(tokens)) == len(tokens)
    assert most == together


async def test_a_writer_is_alone_and_readers_are_together(natsume_worker, natsume_client):
    asked = [await natsume_client.submit(Counts("writer" if number % 4 == 2 else "reader")) for number in range(12)]
    for one in asked:
        await natsume_client.result(one)
    assert most["writer"] == 1
    assert most["reader"] > 1


async def test_who_waited_long_enough_is_told_who_has_it_and_tries_again(natsume_worker, natsume_client):
    first = await natsume_client.submit(Holds())
    await until(lambda: inside)
    second = await natsume_client.submit(Holds(), track=True)
    failures = await until(lambda: _failures(natsume_client, second))
    assert failures[0].failure.type == LockNotAcquired.__name__
    assert f"mutex:job:7 is held by task {first} since 20" in failures[0].failure.message
    Holds.go_on.set()
    assert [await natsume_client.result(one) for one in (first, second)] == ["done", "done"]


async def _failures(client, token):
    return (await client.status(token)).failures


async def test_a_block_in_a_block_holds_the_lock_until_the_outer_one_ends(
    natsume_worker, natsume_client, natsume_broker
):
    same, first, again, later = await natsume_client.result(await natsume_client.submit(Nests()))
    assert first == again < later
    assert same != first
    await until(lambda: leases(natsume_broker), lambda keys: not keys)


async def test_a_reader_cannot_become_a_writer_inside_its_block(natsume_worker, natsume_client, natsume_broker):
    done = await task_done(natsume_client, await natsume_client.submit(Upgrades()))
    assert (done.state, done.failure.type) == (State.FAILED, "UsageError")
    assert "holds rwlock:job:7 already" in done.failure.message
    await until(lambda: leases(natsume_broker), lambda keys: not keys)


async def test_a_lock_lost_in_the_block_stops_the_task_which_runs_again(natsume_worker, natsume_client, natsume_broker):
    token = await natsume_client.submit(Holds(wait_s=30, ttl_ms=1000))
    await until(lambda: inside)
    (entry,) = await natsume_broker.leases.entries(MutexLock("JOB", 7).bucket_key)
    await natsume_broker.leases._delete(entry.revision)
    await until(lambda: inside, lambda seen: len(seen) == 2)
    Holds.go_on.set()
    assert await natsume_client.result(token) == "done"
    assert (await natsume_client.status(token)).done.attempt == 1


async def test_a_writer_that_waits_in_place_gets_in_after_the_reader(natsume_worker, natsume_client, natsume_broker):
    lock = ExclusiveRWLock("JOB", 7)
    reader = await natsume_broker.leases.acquire(SharedRWLock("JOB", 7).want, Holding("the test", "none", 0.0))
    done = asyncio.create_task(task_done(natsume_client, await natsume_client.submit(Counts("writer"))))
    await until(lambda: leases(natsume_broker), lambda keys: len(keys) == 2)
    await natsume_broker.leases.release(reader)
    assert (await done).state is State.COMPLETED
    assert await natsume_broker.leases.entries(lock.bucket_key) == []


async def test_a_rate_limiter_is_refused(natsume_worker, natsume_client):
    done = await task_done(natsume_client, await natsume_client.submit(WaitsForARate()))
    assert (done.failure.type, "name it in execution_locks" in done.failure.message) == ("UsageError", True)


async def test_outside_a_task_nobody_can_hold_a_lock():
    with pytest.raises(Unbound, match="mutex:job:7 can be taken by `async with` only inside execute"):
        async with MutexLock("JOB", 7):
            pass


@pytest.mark.parametrize("wait_s", [-1, True, "1", float("nan")])
def test_how_long_to_wait_is_a_number_of_seconds(wait_s):
    with pytest.raises(UsageError, match="wait_s is a number of seconds"):
        MutexLock("JOB", 7, wait_s=wait_s)
