"""Locks under faults of real processes: a zombie writes nothing, waiters go on after the TTL, clocks do not matter."""

import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.model.task import State
from natsume.testing import until

from .lock_actors import BlockingTeller, InsideTeller, Teller
from .lock_installation import LockInstallation, backwards, beside_each_other
from .locks import storm
from .proxy import Proxy

TTL_S = 1.0
SEED = 7


@pytest.fixture
async def locks(tmp_path: Path) -> AsyncIterator[LockInstallation]:
    with EmbeddedServer() as server:
        installation = LockInstallation(server, tmp_path)
        try:
            yield await installation.open()
        finally:
            await installation.close()
            server.kill()


async def ready(locks: LockInstallation, count: int = 2) -> None:
    for worker in [locks.start_worker() for _ in range(count)]:
        await worker.ready()


async def running(locks: LockInstallation, task: Teller) -> str:
    """A task that has started."""
    token = await locks.client.submit(task)
    await until(lambda: token in locks.journal.started())
    return token


async def after_the_fault(locks: LockInstallation, holder: str, waiters: list[str], at: float) -> float:
    """All come to their one end; how long after the fault the first waiter started."""
    records = await locks.all_done([holder, *waiters])
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert backwards(locks.writes()) == []
    return min(locks.journal.lines("start", task)[0].at for task in waiters) - at


@pytest.mark.parametrize(
    "holder",
    [
        Teller(0, 0.5, "writer", deaf=True),
        BlockingTeller(0, 0.5, "mutex"),
        InsideTeller(0, 0.5, "mutex"),
    ],
    ids=["deaf", "blocking", "inside"],
)
async def test_a_zombie_writes_nothing_after_others_and_its_outcome_is_dropped(
    locks: LockInstallation, holder: Teller
) -> None:
    await locks.witness()
    zombie = await locks.start_worker().ready()
    token = await running(locks, holder)
    await zombie.freeze()
    at = time.time()
    await locks.start_worker().ready()
    waiters = await locks.client.submit_many([Teller(number, kind=holder.kind) for number in (1, 2, 3)])
    await locks.all_done(waiters)
    zombie.send(signal.SIGCONT)
    took = await after_the_fault(locks, token, waiters, at)
    await until(lambda: token not in locks.journal.running(zombie.pid))
    counts = await locks.witnessed(4)
    fenced = _fenced(locks, zombie.pid)
    print(f"{type(holder).__name__} {holder.kind}: {fenced} writes of the zombie refused, waiters after {took:.1f} s")
    assert counts == dict.fromkeys([token, *waiters], 1)
    assert locks.journal.starts()[token] >= 2
    assert fenced == 1 or not holder.deaf


def _fenced(locks: LockInstallation, pid: int) -> int:
    return sum(line.pid == pid for line in locks.journal.lines("fenced"))


@pytest.mark.parametrize(("dead", "waits"), [("mutex", "mutex"), ("reader", "writer")])
async def test_waiters_go_on_after_the_ttl_of_a_holder_that_was_killed(
    locks: LockInstallation, dead: str, waits: str
) -> None:
    await ready(locks)
    holder = await running(locks, Teller(0, 2.0, dead))
    waiters = await locks.client.submit_many([Teller(number, kind=waits) for number in (1, 2, 3)])
    await until(lambda: _parked(locks), lambda count: count == 3)
    at = time.time()
    await locks.worker_of(holder).kill()
    took = await after_the_fault(locks, holder, waiters, at)
    print(f"a dead {dead}: a {waits} went on after {took:.1f} s, the TTL is {TTL_S:g} s")
    assert took < 4 * TTL_S + 2


async def _parked(locks: LockInstallation) -> int:
    info = await locks.broker.stream_info("TASKS", subjects_filter="parked.>")
    return len(info["state"].get("subjects") or ())


async def test_a_restart_of_the_broker_gives_no_lock_to_two(locks: LockInstallation) -> None:
    await locks.start_conductor().ready()
    await ready(locks)
    kinds = ("mutex", "writer", "reader", "permit")
    tasks = await locks.client.submit_many([Teller(n, 0.05, kinds[n % 4]) for n in range(60)])
    for share in (10, 30):
        await until(locks.journal.started, lambda started: len(started) >= share)  # noqa: B023 - awaited here
        await locks.restart_broker()
    records = await locks.all_done(tasks, within_s=40.0)
    lines = [line for line in locks.journal.lines() if line.text == "mutex"]
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert (backwards(locks.writes()), beside_each_other(lines)) == ([], 0)


async def test_a_holder_that_is_cut_off_beyond_its_ttl_is_stopped_and_what_comes_late_changes_nothing(
    locks: LockInstallation,
) -> None:
    await locks.witness()
    async with Proxy(urlsplit(locks.server.url).port or 0) as network:
        zombie = await locks.start_worker(NATSUME_NATS_URL=network.url).ready()
        token = await running(locks, Teller(0, 30.0))
        network.cut()
        at = time.time()
        waiters = await locks.client.submit_many([Teller(number) for number in (1, 2)])
        await locks.start_worker().ready()
        await locks.all_done(waiters)
        await until(lambda: locks.journal.lines("told", token))
        network.mend()
        took = min(line.at for line in locks.journal.lines("start") if line.task in waiters) - at
        lost = locks.journal.lines("told", token)[0]
        print(f"cut off: told after {lost.at - at:.1f} s, waiters went on after {took:.1f} s, TTL {TTL_S:g} s")
        assert lost.pid == zombie.pid
        assert lost.at - at < TTL_S + 0.6
        await zombie.kill()
    assert set(await locks.witnessed(2)) == set(waiters)
    assert backwards(locks.writes()) == []


async def test_while_everything_breaks_all_tasks_end_once_and_no_zombie_writes(locks: LockInstallation) -> None:
    report = await storm(locks, 1, SEED)
    print(report)
    assert report.wrong == []
    assert set(report.faults.values()) == {1}
    assert report.accepted > 10


async def test_wrong_clocks_change_nothing(locks: LockInstallation) -> None:
    """Two workers that are twenty minutes apart, and one of them dies."""
    workers = [locks.start_worker(ahead_s=600.0), locks.start_worker(ahead_s=-600.0)]
    for worker in workers:
        await worker.ready()
    kinds = ("mutex", "writer", "reader", "reader", "permit")
    began = time.time()
    tasks = await locks.client.submit_many([Teller(n, 0.02, kinds[n % 5]) for n in range(50)])
    inside = await locks.client.submit_many([InsideTeller(n, 0.02, "mutex", key="y") for n in range(10)])
    records = await locks.all_done([*tasks, *inside])
    took = time.time() - began
    by_lock: dict[str, list] = {"mutex": [], "rw": [], "permit": []}
    for line in locks.journal.lines():
        if line.task in tasks and line.text:
            by_lock["rw" if line.text in ("writer", "reader") else line.text].append(line)
    # Each worker writes its own wall clock into the journal: what they did is ordered by the true time.
    for lines in by_lock.values():
        lines[:] = [line._replace(at=line.at - (600.0 if line.pid == workers[0].pid else -600.0)) for line in lines]
    found = {name: beside_each_other(lines, 2 if name == "permit" else 1) for name, lines in by_lock.items()}
    print(f"clocks 20 minutes apart: {len(records)} tasks in {took:.1f} s, {found} beside each other")
    assert found == {"mutex": 0, "rw": 0, "permit": 0}
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert {line.pid for line in locks.journal.lines("start")} == {worker.pid for worker in workers}
    assert backwards(locks.writes()) == []
    holder = await running(locks, Teller(0, 2.0))
    waiter = await locks.client.submit(Teller(1))
    await until(lambda: _parked(locks))
    await locks.worker_of(holder).kill()
    await locks.all_done([holder, waiter])
