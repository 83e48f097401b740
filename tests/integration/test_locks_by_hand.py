"""Operators see who holds a lock and who waits for it, and end a lease by hand."""

import asyncio
from dataclasses import dataclass

import msgspec
import pytest

from natsume import BaseTask, ExclusiveRWLock, MutexLock, Priority, Semaphore, SharedRWLock
from natsume.cli.main import main
from natsume.locks import BaseLock, Recovery
from natsume.model.lock import Holding
from natsume.model.subject import LANES
from natsume.model.task import State, Task
from natsume.ports import Lease
from natsume.testing import leases as held_keys
from natsume.testing import task_done, until

pytestmark = pytest.mark.natsume_leaves_leases("they are held by hand")


@dataclass
class Locked(BaseTask):
    job: str

    @property
    def execution_locks(self):
        return [MutexLock("job", self.job)]

    async def execute(self):
        return self.job


class Urgent(Locked):
    priority = Priority.REALTIME


@dataclass
class Long(BaseTask):
    job: str

    @property
    def execution_locks(self):
        return [MutexLock("job", self.job, ttl_ms=1000)]

    async def execute(self):
        await asyncio.Event().wait()


@dataclass
class Impatient(Locked):
    wait_limit_s = 1.5


@dataclass
class Careless(Impatient):
    on_wait_limit = "drop"


@pytest.fixture
def natsume_registry():
    return {f"t:{cls.__name__}": cls for cls in (Locked, Urgent, Long, Impatient, Careless)}


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


async def taken(broker, lock: BaseLock, task: str = "holder") -> Lease:
    lease = await broker.leases.acquire(lock.want, Holding(f"run-of-{task}", task, 0.0, worker="w-1", owner="ada"))
    assert isinstance(lease, Lease), lease
    return lease


async def test_no_lock_is_no_row(natsume_broker, run, told):
    assert await told("locks", "ls") == []
    assert (await run("locks", "ls"))[1] == "no lock is held, and none is waited for\n"
    code, said = await run("locks", "show", "mutex:job:7")
    assert (code, "nobody holds mutex:job:7 or waits for it" in said) == (1, True)


async def test_a_lock_is_listed_with_its_holder_and_those_that_wait(
    natsume_broker, natsume_client, natsume_worker, told, run
):
    await taken(natsume_broker, MutexLock("job", "7"))
    await taken(natsume_broker, MutexLock("job", "8", recovery=Recovery.MANUAL), "forgotten")
    tokens = []
    for track in (False, True):
        tokens.append(await natsume_client.submit(Locked("7"), track=track))
        await until(lambda: told("locks", "ls"), lambda rows: rows[0]["waiters"] == len(tokens))
    known = await natsume_client.status(tokens[0])  # of a task that is not tracked, its parked message tells
    assert (known.state, known.actor, known.waiting_for) == (State.WAITING, "t:Locked", "mutex:job:7")
    urgent = await natsume_client.submit(Urgent("7"))
    rows = await until(lambda: told("locks", "ls"), lambda rows: rows[0]["waiters"] == 3)
    assert [(row["key"], row["holder"], row["waiters"]) for row in rows] == [
        ("mutex.job.7", "run-of-holder", 3),
        ("mutex.job.8", "run-of-forgotten", 0),
    ]
    first = rows[0]
    assert (first["task"], first["worker"], first["owner"], first["name"]) == ("holder", "w-1", "ada", "mutex:job:7")
    assert (first["hold"], first["mode"], first["slot"]) == ("held", "permit", "0")
    assert (0 <= first["age_s"] < 60, first["ends"] > first["since"], rows[1]["ends"]) == (True, True, None)
    for name in ("mutex.job.7", "mutex:job:7"):
        shown = await told("locks", "show", name)
        assert [one["task"] for one in shown["line"]] == [urgent, *tokens]
        assert [one["priority"] for one in shown["line"]] == ["realtime", "normal", "normal"]
        assert {one["behind"] for one in shown["line"]} == {"holder"}
        assert [holder["task"] for holder in shown["holders"]] == ["holder"]
    assert "t:Urgent" in (await run("locks", "show", "mutex:job:7"))[1]


async def test_a_task_that_waits_says_for_what_since_when_behind_whom(
    natsume_broker, natsume_client, natsume_worker, told
):
    lease = await taken(natsume_broker, MutexLock("job", "a b:c"))
    token = await natsume_client.submit(Locked("a b:c"), owner="ada", tenant="lhcb", track=False)
    await until(lambda: told("tasks", "show", token), lambda row: row["waiting_for"])
    status = await natsume_client.status(token)
    assert (status.state, status.waiting_for, status.behind) == (State.WAITING, "mutex:job:a b:c", "holder")
    assert abs(status.waiting_since - natsume_broker.now()) < 30
    row = await told("tasks", "show", token)
    assert (row["waiting_for"], row["behind"], row["owner"]) == ("mutex:job:a b:c", "holder", "ada")
    await natsume_broker.leases.release(lease)
    assert (await task_done(natsume_client, token)).state is State.COMPLETED
    row = await told("tasks", "show", token)
    assert (row["waiting_for"], row["waiting_since"], row["behind"]) == (None, None, None)


async def test_a_line_without_a_holder_is_listed(natsume_broker, told):
    lock = MutexLock("job", "7")
    await taken(natsume_broker, lock)
    now = natsume_broker.now()
    blocked = await natsume_broker.leases.acquire(lock.want, Holding("x", "later", now))
    task = Task("later", "t:Locked", LANES[0], b"{}", hop=1, waits=1, waiting_since=now)
    await natsume_broker.leases.park(task, blocked, now + 600)
    await natsume_broker.request("$JS.API.STREAM.PURGE.KV_locks", b"")
    (row,) = await told("locks", "ls")
    assert (row["key"], row["holder"], row["waiters"]) == ("mutex.job.7", None, 1)


async def test_a_release_by_hand_wakes_the_next_and_is_recorded(
    natsume_broker, natsume_client, natsume_worker, run, told
):
    await taken(natsume_broker, MutexLock("job", "7", recovery=Recovery.MANUAL), "forgotten")
    token = await natsume_client.submit(Locked("7"))
    await until(lambda: told("locks", "ls"), lambda rows: rows[0]["waiters"] == 1)
    code, said = await run("locks", "release", "mutex:job:7", "--why", "  ")
    assert (code, "--why has 0 characters" in said) == (1, True)
    code, said = await run("locks", "release", "mutex:job:7", "--why", "its node is gone")
    assert (code, said) == (0, "mutex:job:7 is released: task forgotten held it; 1 wait for it\n")
    assert (await task_done(natsume_client, token)).state is State.COMPLETED
    # The holder itself has no record but this one.
    info = await natsume_broker.stream_info("RECORDS", subjects_filter="record.released.*.forgotten")
    assert len(info["state"]["subjects"]) == 1
    assert await held_keys(natsume_broker) == []
    code, said = await run("locks", "release", "mutex.job.7", "--why", "again")
    assert (code, said) == (1, "natsume: nobody holds mutex:job:7 now\n")


async def test_who_still_runs_loses_the_lock_and_the_record_is_shown(
    natsume_broker, natsume_client, natsume_worker, run, told
):
    token = await natsume_client.submit(Long("7"), track=True)
    await until(lambda: held_keys(natsume_broker))
    (row,) = await told("locks", "ls")
    code, _ = await run("locks", "release", "mutex:job:7", "--holder", row["task"], "--why", "it hangs")
    assert code == 0
    shown = await told("tasks", "show", token)
    assert [(one["lock"], one["why"]) for one in shown["released"]] == [("mutex:job:7", "it hangs")]
    assert "@" in shown["released"][0]["who"]

    async def runs_again():
        rows = await told("locks", "ls")
        return rows and rows[0]["holder"] != row["holder"]

    await until(runs_again)
    await natsume_broker.request("$JS.API.STREAM.PURGE.KV_locks", b"")


async def test_of_several_holders_one_is_named(natsume_broker, run, told):
    for number in range(2):
        await taken(natsume_broker, Semaphore("job", "7", permits=5), f"task{number}")
    code, said = await run("locks", "release", "semaphore:job:7", "--why", "x")
    assert (code, "has 2 holders; name one by --slot" in said) == (1, True)
    code, said = await run("locks", "release", "semaphore:job:7", "--why", "x", "--holder", "nobody")
    assert (code, "has no such holder" in said) == (1, True)
    code, said = await run("locks", "release", "semaphore:job:7", "--why", "x", "--holder", "task1")
    assert code == 0, said
    assert [row["task"] for row in await told("locks", "ls")] == ["task0"]


async def test_readers_and_writers_are_told_apart(natsume_broker, told):
    await taken(natsume_broker, SharedRWLock("job", "7"), "reader")
    want = ExclusiveRWLock("job", "7").want
    await natsume_broker.leases.acquire(want, Holding("run", "writer", natsume_broker.now()))
    rows = await told("locks", "ls")
    assert sorted((row["task"], row["mode"], row["hold"]) for row in rows) == [
        ("reader", "shared", "held"),
        ("writer", "exclusive", "requested"),
    ]


async def test_who_waits_too_long_becomes_a_dead_letter_or_is_dropped(
    natsume_broker, natsume_client, natsume_worker, told
):
    await taken(natsume_broker, MutexLock("job", "7"))
    patient = await natsume_client.submit(Locked("7"))
    tokens = [await natsume_client.submit(cls("7")) for cls in (Impatient, Careless)]
    letter, dropped = [await task_done(natsume_client, token) for token in tokens]
    assert (letter.state, letter.letter.reason) == (State.FAILED, "expired")
    assert "s for mutex:job:7, which task holder has" in letter.failure.message
    assert (dropped.state, dropped.letter, dropped.failure.type) == (State.DROPPED, None, "Expired")
    assert [(row["reason"], row["attempts"]) for row in await told("dead", "ls")] == [("expired", 0)]
    assert (await told("tasks", "show", patient))["state"] == "WAITING"
