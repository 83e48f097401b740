"""The fixtures that actors are tested with: a real broker for each test, facts instead of sleeps."""

import asyncio
import subprocess
import sys
from dataclasses import dataclass

import msgspec
import pytest

import natsume
from natsume.model.task import State
from natsume.testing import leases, task_done, until

pytest_plugins = ["pytester"]


@dataclass
class Double(natsume.BaseTask):
    number: int

    async def execute(self):
        return 2 * self.number


@dataclass
class Fail(natsume.BaseTask):
    async def execute(self):
        raise ValueError("not today")


@dataclass
class Hold(natsume.BaseTask):
    """Holds a lock until the test lets it go."""

    name: str
    let_go = asyncio.Event()

    @property
    def execution_locks(self):
        return [natsume.MutexLock("job", self.name)]

    async def execute(self):
        await self.let_go.wait()


@dataclass
class Heavy(natsume.BaseTask):
    size = natsume.Size.LARGE

    async def execute(self):
        return "heavy"


@dataclass
class Spawn(natsume.BaseTask):
    async def execute(self):
        return await Double(21).schedule()


@pytest.fixture
def natsume_registry():
    return {"t:Spawn": Spawn, "t:Double": Double, "t:Fail": Fail, "t:Hold": Hold, "t:Heavy": Heavy}


@pytest.fixture(autouse=True)
def let_go():
    Hold.let_go = asyncio.Event()
    return Hold.let_go


async def test_a_client_and_a_worker(natsume_client, natsume_worker):
    assert await natsume_client.result(await natsume_client.submit(Double(21))) == 42


async def test_done_is_told_whatever_the_outcome(natsume_client, natsume_worker):
    good = await natsume_client.submit(Double(4))
    bad = await natsume_client.submit(Fail())
    assert (await task_done(natsume_client, good)).result == msgspec.Raw(b"8")
    done = await task_done(natsume_client, bad)
    assert (done.state, done.failure.message) == (State.FAILED, "not today")


async def test_a_task_that_does_not_end_is_told_as_it_stands(natsume_client):
    waiting = await natsume_client.submit(Double(1), track=True)
    with pytest.raises(AssertionError, match=r"has not ended within 0.05 s; last seen: t:Double is ENQUEUED"):
        await task_done(natsume_client, waiting, within_s=0.05)
    with pytest.raises(AssertionError, match="nothing is known"):
        await task_done(natsume_client, "never-was", within_s=0.05)


async def test_each_test_has_a_broker_of_its_own(natsume_client):
    with pytest.raises(natsume.NatsumeError):
        await natsume_client.status("an-id")
    await natsume_client.submit(Double(1), id="an-id", track=True)


test_even_the_same_twice = test_each_test_has_a_broker_of_its_own


async def test_the_consumers_follow_the_settings(natsume_broker, natsume_settings):
    info = msgspec.json.decode(await natsume_broker.request("$JS.API.CONSUMER.INFO.TASKS.normal-small", b""))
    assert info["config"]["ack_wait"] == natsume_settings.ack_wait_s * 1e9


async def test_several_workers(natsume_client, natsume_start_worker):
    await natsume_start_worker(size="large", concurrency=1)
    await natsume_start_worker(size="large", concurrency=1)
    tokens = await natsume_client.submit_many([Heavy()] * 4)
    assert [await natsume_client.result(token) for token in tokens] == ["heavy"] * 4


async def test_a_conductor_submits_what_a_task_scheduled(natsume_client, natsume_worker, natsume_conductor):
    child = await natsume_client.result(await natsume_client.submit(Spawn()))
    assert await natsume_client.result(child) == 42


async def test_until_tells_what_it_saw_last():
    numbers = iter(range(100))
    assert await until(lambda: next(numbers), lambda n: n > 3) == 4
    with pytest.raises(AssertionError, match=r"within 0.02 s; last seen: 'amber'"):
        await until(lambda: "amber", lambda light: light == "green", within_s=0.02)
    with pytest.raises(AssertionError, match=r"last seen: 5 \(too few\)"):
        await until(lambda: 5, _fail, within_s=0.02)


def _fail(value):
    raise AssertionError("too few")


async def test_until_looks_again_when_told():
    changed, box = asyncio.Event(), []

    async def look():
        return list(box)

    asyncio.get_running_loop().call_later(0.01, lambda: (box.append(1), changed.set()))
    assert await until(look, changed=changed) == [1]


async def test_held_locks_are_seen(natsume_client, natsume_worker, natsume_broker, let_go):
    token = await natsume_client.submit(Hold("a b"))
    assert await until(lambda: leases(natsume_broker)) == ["mutex.job.a=20b.0"]
    let_go.set()
    await task_done(natsume_client, token)
    assert await until(lambda: leases(natsume_broker), lambda held: not held) == []


LEAVES_A_LEASE = """
import pytest
from natsume.model.lock import Holding, Want
from natsume.testing import leases

@pytest.fixture
def natsume_registry():
    return {}

async def leave(broker):
    await broker.leases.acquire(Want("mutex.job.1", "mutex:job:1"), Holding("somebody", "a-task", 0.0))
    assert await leases(broker) == ["mutex.job.1.0"]

async def test_leak(natsume_broker, natsume_worker):
    await leave(natsume_broker)

@pytest.mark.natsume_leaves_leases("on purpose")
async def test_meant(natsume_broker, natsume_worker):
    await leave(natsume_broker)

async def test_broker_gone(natsume_server, natsume_broker, natsume_worker):
    await leave(natsume_broker)
    natsume_server.kill()
"""


def test_a_test_that_leaves_leases_fails(pytester):
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(LEAVES_A_LEASE)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*the test left 1 locks held: mutex.job.1.0*"])


def test_a_run_without_fixtures_does_not_pay_for_them():
    heavy = "{'sqlalchemy', 'nats', 'natsume.compose', 'natsume.client'}"
    code = f"import sys, natsume.testing.plugin, natsume.testing; sys.exit(str(set(sys.modules) & {heavy}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.strip() == "set()"
