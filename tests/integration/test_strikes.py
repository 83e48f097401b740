"""A strike stops an actor on running workers, loses nothing, and its end sends everything back."""

import asyncio
from dataclasses import dataclass

import msgspec
import pytest

from natsume import BaseTask, Priority
from natsume.adapters.nats import strikes as adapter
from natsume.adapters.nats.kept import KvKept
from natsume.cli.main import main
from natsume.compose.conductor import conducting
from natsume.model.config import LimitsSet
from natsume.model.strike import Strike, Strikes
from natsume.model.task import State
from natsume.testing import task_done, until

RUNS: list[tuple[str, object]] = []
GATE: dict[str, asyncio.Event] = {}


@dataclass
class Work(BaseTask):
    job: int
    vo: str = "none"

    async def execute(self):
        RUNS.append((self.vo, self.job))
        if self.vo in GATE:
            await GATE[self.vo].wait()
        return self.job


@dataclass
class Urgent(Work):
    priority = Priority.REALTIME


@dataclass
class Flaky(Work):
    async def execute(self):
        raise ValueError("no")


@pytest.fixture
def natsume_registry():
    return {"t:Work": Work, "t:Urgent": Urgent, "t:Flaky": Flaky}


@pytest.fixture(autouse=True)
def nothing_ran():
    RUNS.clear()
    GATE.clear()


@pytest.fixture
def run(natsume_server, capsys):
    async def run(*arguments):
        code = await asyncio.to_thread(main, [*map(str, arguments), "--nats-url", natsume_server.url])
        said = capsys.readouterr()
        assert len(said.err.splitlines()) <= 3
        return code, said.out + said.err

    return run


@pytest.fixture
def told(run):
    async def told(*arguments):
        code, said = await run(*arguments, "--json")
        assert code == 0, said
        return msgspec.json.decode(said)

    return told


async def strike(run, *arguments):
    code, said = await run("strike", *arguments, "--why", "the store is full", "--any-actor")
    assert code == 0, said


async def unstrike(run, *arguments):
    code, said = await run("unstrike", *arguments)
    assert code == 0, said
    return said


def standing_in(worker):
    return worker._ports.struck


async def known(worker, client, task):
    """Wait until a worker knows that this task is struck."""
    actor = client.registry.of(task)
    return await until(lambda: standing_in(worker)(actor, task))


async def waiting(told):
    return sum(row["waiters"] for row in await told("strikes"))


async def test_a_struck_actor_waits_on_every_worker_and_runs_again(
    natsume_broker, natsume_client, natsume_start_worker, run, told
):
    workers = [await natsume_start_worker() for _ in range(2)]
    GATE["before"] = asyncio.Event()
    running = await natsume_client.submit(Work(0, "before"))
    await until(lambda: RUNS)
    await strike(run, "t:Work")
    for worker in workers:
        await known(worker, natsume_client, Work(1))
    tokens = [await natsume_client.submit(Work(number), track=True) for number in range(30)]
    other = await natsume_client.submit(Urgent(1))
    assert (await task_done(natsume_client, other)).state is State.COMPLETED
    await until(lambda: waiting(told), lambda count: count == 30)
    GATE["before"].set()
    assert (await task_done(natsume_client, running)).state is State.COMPLETED
    row = await told("tasks", "show", tokens[-1])
    assert (row["state"], row["waiting_for"], row["attempts"]) == ("WAITING", "strike:t:Work", 0)
    assert row["strike"].startswith("strike:t:Work by ")
    assert row["strike"].endswith(": the store is full")
    assert await told("locks", "ls") == []
    assert "strike:t:Work is over: " in await unstrike(run, "t:Work")
    dones = [await task_done(natsume_client, token) for token in tokens]
    assert {(done.state, done.attempt) for done in dones} == {(State.COMPLETED, 1)}
    assert sorted(job for vo, job in RUNS if vo == "none") == sorted([1, *range(30)])
    assert await told("strikes") == []


async def test_a_worker_knows_of_it_within_a_second(natsume_broker, natsume_client, natsume_worker):
    revision = await natsume_broker.strikes.put(Strikes((Strike("t:Work", "ada", "x", 1.0),)), 0)
    assert (await known(natsume_worker, natsume_client, Work(1))).want.name == "strike:t:Work"
    await natsume_broker.strikes.put(Strikes(), revision)
    actor = natsume_client.registry.of(Work)
    await until(lambda: standing_in(natsume_worker)(actor, Work(1)) is None)


async def test_an_argument_value_alone_waits(natsume_broker, natsume_client, natsume_worker, run, told):
    await strike(run, "t:Work", "--arg", "vo=lhcb", "--arg", "job=7")
    await known(natsume_worker, natsume_client, Work(7, "lhcb"))
    struck = await natsume_client.submit(Work(7, "lhcb"))
    await until(lambda: waiting(told), lambda count: count == 1)
    for job, vo in ((7, "cms"), (8, "lhcb")):
        done = await task_done(natsume_client, await natsume_client.submit(Work(job, vo)))
        assert done.state is State.COMPLETED
    (row,) = await told("strikes")
    assert (row["actor"], row["arguments"], row["why"]) == ("t:Work", {"vo": "lhcb", "job": "7"}, "the store is full")
    code, said = await run("unstrike", "t:Work")
    assert (code, said) == (1, "natsume: there is no strike:t:Work; `natsume strikes` lists those that stand\n")
    assert "1 of its tasks waited" in await unstrike(run, "Work", "--arg", "job=7", "--arg", "vo=lhcb")
    assert (await task_done(natsume_client, struck)).state is State.COMPLETED
    assert (await run("strike", "t:Work", "--any-actor"))[0] == 0
    assert [row["why"] for row in await told("strikes")] == [""], "a reason is asked of nobody"
    await unstrike(run, "t:Work")


async def test_what_failed_before_keeps_its_attempt(natsume_broker, natsume_client, natsume_worker, run, told):
    await strike(run, "t:Flaky")
    await known(natsume_worker, natsume_client, Flaky(1))
    token = await natsume_client.submit(Flaky(1), track=True)
    await until(lambda: waiting(told), lambda count: count == 1)
    await unstrike(run, "t:Flaky")
    done = await task_done(natsume_client, token)
    assert (done.state, done.attempt) == (State.FAILED, 1)


async def test_an_end_that_was_cut_short_is_finished_by_the_next(
    natsume_broker, natsume_client, natsume_worker, run, told, monkeypatch
):
    monkeypatch.setattr(adapter, "_PAGE", 7)
    await strike(run, "t:Work")
    await known(natsume_worker, natsume_client, Work(1))
    tokens = [await natsume_client.submit(Work(number)) for number in range(40)]
    await until(lambda: waiting(told), lambda count: count == 40)
    send, sent = natsume_broker.strikes._line.send, []

    async def cut(parked):
        sent.append(parked)
        if len(sent) > 10:
            raise ConnectionError("the machine has died")
        return await send(parked)

    natsume_broker.strikes._line.send = cut
    await natsume_broker.strikes.change(lambda _: Strikes())
    with pytest.raises(ConnectionError):
        await natsume_broker.leases.wake(Strike("t:Work", "", "", 0.0).key)
    assert "strike:t:Work is over: " in await unstrike(run, "t:Work")
    for token in tokens:
        assert (await task_done(natsume_client, token)).state is State.COMPLETED
    assert sorted(job for _, job in RUNS) == list(range(40))


async def test_conductors_finish_it_too(natsume_broker, natsume_client, natsume_worker, run, told, natsume_settings):
    await strike(run, "t:Work")
    await known(natsume_worker, natsume_client, Work(1))
    token = await natsume_client.submit(Work(1))
    await until(lambda: waiting(told), lambda count: count == 1)
    async with conducting(natsume_settings, natsume_client.registry):
        await natsume_broker.strikes.change(lambda _: Strikes())
        assert (await task_done(natsume_client, token)).state is State.COMPLETED


async def test_who_parks_as_the_strike_ends_does_not_wait(natsume_broker, natsume_client, natsume_worker):
    """A worker that has not heard of the end yet parks a task, and sees that it need not wait."""
    standing, parked = standing_in(natsume_worker), []
    standing.take(Strikes((Strike("t:Work", "ada", "x", 1.0),)))
    leases = natsume_worker._ports.leases
    park = leases.park

    async def then_hear(task, blocked, until):
        await park(task, blocked, until)
        parked.append(blocked.want.name)
        standing.take(None)

    leases.park = then_hear
    token = await natsume_client.submit(Work(1))
    assert (await task_done(natsume_client, token)).state is State.COMPLETED
    assert parked[0] == "strike:t:Work"


async def test_strikes_and_limits_are_of_what_outlives_the_broker(natsume_broker):
    await natsume_broker.strikes.put(Strikes((Strike("t:Work", "ada", "x", 1.0),)), 0)
    await natsume_broker.limits.put(LimitsSet(changed={"rate:job:7": 1.0}), 0)
    kept = KvKept(natsume_broker.publisher, natsume_broker.config_reader)
    _, values = await kept.read()
    assert {"strikes", "limits"} <= values.keys()
    await natsume_broker.request("$JS.API.STREAM.PURGE.KV_config", b"")
    await kept.restore(values)
    assert (await natsume_broker.strikes.read())[0].strikes[0].who == "ada"
    assert (await natsume_broker.limits.read())[0].changed == {"rate:job:7": 1.0}


async def test_what_is_wrong_is_told(natsume_broker, run):
    for arguments, said in (
        (("strike", "t:Nobody", "--why", "x"), "no actor is called 't:Nobody'"),
        (("strike", "t:Work", "--why", "", "--any-actor"), "--why has 0 characters; give a reason"),
        (("strike", "t:Work", "--why", "x", "--arg", "job", "--any-actor"), "--arg 'job' is not NAME=VALUE"),
        (("unstrike", "t:Work"), "there is no strike:t:Work"),
    ):
        code, found = await run(*arguments)
        assert (code, said in found) == (1, True), found
