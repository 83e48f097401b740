"""A mutex under faults: never two at once, a zombie's outcome is dropped, a dead holder's waiters proceed."""

import signal
import time

import pytest

from natsume.locks import MutexLock
from natsume.model.lock import Holding
from natsume.model.task import State
from natsume.ports import Lease
from natsume.testing import until

from .actors import Guarded, GuardedBlocker
from .installation import Installation, Line, WorkerProcess

TTL_S = 2.0


@pytest.fixture
def ack_wait_s() -> float:
    return 1.0


def overlaps(lines: list[Line]) -> int:
    """How often a task started while another was between its start and its end."""
    inside, found = 0, 0
    for line in sorted(lines):
        if line.what == "start":
            found += inside > 0
        inside += 1 if line.what == "start" else -1
    return found


async def test_fifty_tasks_on_two_workers_are_never_two_in_the_critical_section(installation: Installation) -> None:
    for _ in range(2):
        await installation.start_worker(10).ready()
    began = time.monotonic()
    tokens: list[str] = []
    for number in range(25):
        pair = await installation.client.submit_many([Guarded(number, 0.01), Guarded(number, 0.01)])
        await until(lambda: installation.journal.started() & set(pair))  # noqa: B023 - awaited here
        tokens += pair
    records = await installation.all_done(tokens)
    took = time.monotonic() - began
    lines = installation.journal.lines()
    waits = sum(record.waits for _, record in records.values())
    print(f"50 tasks of 10 ms on one mutex, two workers: {overlaps(lines)} overlaps, {waits} waits, {took:.1f} s")
    assert overlaps(lines) == 0
    assert waits > 0
    assert installation.journal.starts() == dict.fromkeys(tokens, 1)
    assert {(record.state, record.attempt) for _, record in records.values()} == {(State.COMPLETED, 1)}


async def test_a_lease_is_renewed_for_a_task_that_is_longer_than_its_ttl(installation: Installation) -> None:
    for _ in range(2):
        await installation.start_worker(10).ready()
    long = await installation.client.submit(Guarded(0, 3.5, ttl_ms=1000))
    await until(lambda: long in installation.journal.started())
    waiters = await installation.client.submit_many([Guarded(number, ttl_ms=1000) for number in range(3)])
    await installation.all_done([long, *waiters])
    (end,) = installation.journal.lines("end", long)
    firsts = [installation.journal.lines("start", task)[0].at for task in waiters]
    print(f"a task of 3.5 s under a TTL of 1 s; the first waiter started {min(firsts) - end.at:.2f} s after its end")
    assert min(firsts) > end.at
    assert overlaps(installation.journal.lines()) == 0


async def test_the_waiter_proceeds_after_the_ttl_of_a_killed_holder(installation: Installation) -> None:
    workers = [await installation.start_worker(10).ready() for _ in range(2)]
    holder = await installation.client.submit(Guarded(0, 2.0, ttl_ms=int(TTL_S * 1000)))
    await until(lambda: holder in installation.journal.started())
    waiter = await installation.client.submit(Guarded(1, ttl_ms=int(TTL_S * 1000)))
    (victim,) = [worker for worker in workers if holder in installation.journal.running(worker.pid)]
    killed_at = time.time()
    await victim.kill()
    records = await installation.all_done([holder, waiter])
    after = installation.journal.lines("start", waiter)[0].at - killed_at
    print(f"the holder was killed under a TTL of {TTL_S:g} s; the waiter started after {after:.2f} s")
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert len(installation.journal.lines("start", holder)) == 2
    assert overlaps([line for line in installation.journal.lines() if line.at > killed_at]) == 0


async def stopped_holder(installation: Installation, actor: type[Guarded] = Guarded) -> tuple[WorkerProcess, str]:
    """A worker that was stopped in the middle of a task under a lease of a second, and that task."""
    worker = await installation.start_worker(10).ready()
    holder = await installation.client.submit(actor(0, 0.5, ttl_ms=1000))
    await until(lambda: holder in installation.journal.running(worker.pid))
    await worker.freeze()
    return worker, holder


async def test_waiters_go_on_beside_a_holder_that_was_stopped_beyond_its_ttl(installation: Installation) -> None:
    """Its task is brought to the other worker too; when the zombie wakes up, its commit is refused."""
    await installation.witness()
    zombie, holder = await stopped_holder(installation)
    await installation.start_worker(10).ready()
    waiters = await installation.client.submit_many([Guarded(number, ttl_ms=1000) for number in (1, 2)])
    records = await installation.all_done([holder, *waiters])
    zombie.send(signal.SIGCONT)
    zombie.send(signal.SIGTERM)
    code = await zombie.ended()
    counts = await installation.witnessed(3)
    starts = installation.journal.starts()
    print(
        f"stopped beyond its TTL: {len(waiters)} waiters went on; "
        f"the holder started {starts[holder]} times and was committed {counts[holder]} time"
    )
    assert counts == dict.fromkeys([holder, *waiters], 1)
    assert (starts[holder], code) == (2, 0)
    assert {record.state for _, record in records.values()} == {State.COMPLETED}


@pytest.mark.parametrize("actor", [Guarded, GuardedBlocker])
async def test_the_outcome_of_a_zombie_is_dropped_while_another_holds_the_lock(
    installation: Installation, actor: type[Guarded]
) -> None:
    """Nothing but the lost lease keeps it from committing: there is no other run."""
    zombie, holder = await stopped_holder(installation, actor)
    lease = await taken(installation, "x")
    zombie.send(signal.SIGCONT)

    async def refused() -> bool:
        """Whether the task has come back and was refused the lock."""
        assert not await installation.done_ids(), "the zombie committed under another's lock"
        return bool(await installation.broker._tasks_reader.last([f"parked.*.*.{holder}.*"]))

    await until(refused)
    await installation.broker.leases.release(lease)
    records = await installation.all_done([holder])
    starts = installation.journal.starts()[holder]
    print(
        f"a zombie ({actor.__name__}) woke up under another's lock: its outcome was dropped, {starts} starts, 1 commit"
    )
    assert (starts, records[holder][1].attempt) == (2, 1)


async def taken(installation: Installation, key: str) -> Lease:
    """The lock of a key, as soon as its lease has ended."""
    want = MutexLock("TASK", key, ttl_ms=60_000).want
    leases, holding = installation.broker.leases, Holding("the test", "none", 0.0)
    lease = await until(lambda: leases.acquire(want, holding), lambda got: isinstance(got, Lease))
    assert isinstance(lease, Lease)
    return lease
