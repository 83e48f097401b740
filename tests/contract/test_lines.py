"""The port Leases with those that wait: who is next, what a crash between two steps costs, what a late one breaks."""

import asyncio
import time

import msgspec
import pytest

from natsume.adapters.nats import leases as leases_module
from natsume.adapters.nats.broker import Broker
from natsume.core import locking, outcome, waiting
from natsume.enums import Priority, Size
from natsume.model import subject, times
from natsume.model.lock import Blocked, Hold, Holding, Mode, Want
from natsume.model.subject import Lane, kv
from natsume.model.task import Task
from natsume.ports import Lease, Leases
from natsume.testing import until

MUTEX = Want("mutex.JOB.1", "mutex:job:1")
TWO = Want("semaphore.JOB.1", "semaphore:job:1", Mode.PERMIT, 2)
READ = Want("rwlock.JOB.1", "rwlock:job:1", Mode.SHARED)
WRITE = Want("rwlock.JOB.1", "rwlock:job:1", Mode.EXCLUSIVE)


class Waiters:
    """Tasks that ask for locks as a worker does, and what was sent back to the lanes."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.leases: Leases = broker.leases

    async def woken(self) -> list[str]:
        """Who was sent back to its lane, in order."""
        return [stored.headers["ce-id"] for stored in await self.broker._tasks_reader.after("task.>", 1, 100)]

    async def ask(self, want: Want, task: str, *, waited: bool = False, since: float = 0.0) -> Lease | Blocked:
        holding = Holding(f"run-of-{task}", task, since or self.broker.now())
        return await self.leases.acquire(want, holding, waited=waited)

    async def take(self, want: Want, task: str, *, waited: bool = False) -> Lease:
        lease = await self.ask(want, task, waited=waited)
        assert isinstance(lease, Lease), lease
        return lease

    async def wait(self, want: Want, task: str, rank: Priority = Priority.NORMAL) -> Blocked:
        """Be refused and park."""
        refused = await self.ask(want, task)
        assert isinstance(refused, Blocked), refused
        await self.park(refused, task, rank)
        return refused

    async def park(self, refused: Blocked, task: str, rank: Priority = Priority.NORMAL) -> None:
        parked = outcome.parked(Task(task, "line:Actor", Lane(rank, Size.SMALL), b"{}"), self.broker.now())
        await self.leases.park(parked, refused, self.broker.now() + 60)

    async def are_woken(self, *tasks: str) -> None:
        await until(self.woken, lambda woken: woken == list(tasks))

    async def holds(self, want: Want) -> dict[str, Hold]:
        entries = await self.broker.leases.entries(want.key)
        return {entry.holding.task: entry.holding.hold for entry in entries}


@pytest.fixture
def waiters(broker: Broker) -> Waiters:
    return Waiters(broker)


async def test_readers_are_together_and_a_writer_is_alone(waiters: Waiters) -> None:
    first, second = await waiters.take(READ, "r1"), await waiters.take(READ, "r2")
    assert isinstance(await waiters.ask(WRITE, "w1"), Blocked)
    await waiters.leases.release(first)
    assert isinstance(await waiters.ask(WRITE, "w1"), Blocked)
    await waiters.leases.release(second)
    await waiters.take(WRITE, "w1")
    for want, task in ((READ, "r3"), (WRITE, "w2")):
        refused = await waiters.ask(want, task)
        assert isinstance(refused, Blocked)
        assert refused.task == "w1"


@pytest.mark.parametrize("got_as_far_as", ["deleted", "reserved"])
async def test_a_release_that_is_repeated_wakes_who_is_next(waiters: Waiters, got_as_far_as: str) -> None:
    lease = await waiters.take(MUTEX, "holder")
    await waiters.wait(MUTEX, "next")
    leases = waiters.broker.leases
    if got_as_far_as == "deleted":
        await leases._delete(lease.revision)
    else:
        reserved = Holding("", "next", 1.0, MUTEX.name, hold=Hold.RESERVED)
        assert await leases._write(MUTEX.key, locking.Place(lease.slot, lease.revision), reserved, 30.0)
    await waiters.leases.release(lease)
    await waiters.are_woken("next")
    await waiters.take(MUTEX, "next", waited=True)


async def test_a_writer_gets_in_after_those_that_read_when_it_asked(waiters: Waiters) -> None:
    """Readers that come later wait behind it, however many they are."""
    reading = [await waiters.take(READ, f"r{number}") for number in range(3)]
    await waiters.wait(WRITE, "w")
    later = [await waiters.wait(READ, f"later{number}") for number in range(5)]
    assert {refused.task for refused in later} == {"w"}
    for lease in reading:
        assert await waiters.woken() == []
        await waiters.leases.release(lease)
    await waiters.are_woken("w")
    writing = await waiters.take(WRITE, "w", waited=True)
    await waiters.leases.release(writing)
    await until(waiters.woken, lambda woken: len(woken) == 6)
    assert (await waiters.woken())[1:] == [f"later{number}" for number in range(5)]


async def test_a_waiting_writers_request_is_kept_up(waiters: Waiters, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader may hold for longer than a request stands; whoever looks at the line renews it."""
    await waiters.take(READ, "r")
    monkeypatch.setattr(times, "REQUEST_S", 2.0)
    monkeypatch.setattr("natsume.core.locking.REQUEST_S", 2.0)
    await waiters.wait(WRITE, "w")

    async def looked() -> float | None:
        await waiters.leases.wake(WRITE.key)
        (request,) = [one for one in await waiters.broker.leases.entries(WRITE.key) if one.slot == "w"]
        return request.ends_at

    first = await looked()
    assert first is not None
    await until(looked, lambda ends_at: ends_at is not None and ends_at > first + 1.0)
    assert isinstance(await waiters.ask(READ, "late"), Blocked)


async def test_no_more_than_the_permits_are_held_and_each_goes_to_the_next(waiters: Waiters) -> None:
    holders = [await waiters.take(TWO, f"h{number}") for number in range(2)]
    for number in range(3):
        await waiters.wait(TWO, f"t{number}")
    await asyncio.gather(*map(waiters.leases.release, holders))
    await until(waiters.woken, lambda woken: sorted(woken) == ["t0", "t1"])
    assert await waiters.holds(TWO) == {"t0": Hold.RESERVED, "t1": Hold.RESERVED}
    assert isinstance(await waiters.ask(TWO, "passer-by"), Blocked)
    await waiters.leases.release(await waiters.take(TWO, "t0", waited=True))
    await until(waiters.woken, lambda woken: woken[2:] == ["t2"])


async def test_the_urgent_come_first_and_in_a_rank_who_came_first(waiters: Waiters) -> None:
    holder = await waiters.take(MUTEX, "h")
    for task, rank in (("n1", Priority.NORMAL), ("b", Priority.BACKGROUND), ("n2", Priority.NORMAL)):
        await waiters.wait(MUTEX, task, rank)
    await waiters.wait(MUTEX, "u", Priority.REALTIME)
    for task in ("u", "n1", "n2", "b"):
        await waiters.leases.release(holder)
        await until(waiters.woken, lambda woken, task=task: woken[-1:] == [task])
        holder = await waiters.take(MUTEX, task, waited=True)
    assert await waiters.woken() == ["u", "n1", "n2", "b"]


async def test_nobody_comes_between_a_release_and_the_one_it_wakes(waiters: Waiters) -> None:
    holder = await waiters.take(MUTEX, "h")
    await waiters.wait(MUTEX, "t")
    passing = [asyncio.create_task(waiters.ask(MUTEX, f"p{number}")) for number in range(20)]
    await waiters.leases.release(holder)
    assert {type(one) for one in await asyncio.gather(*passing)} == {Blocked}
    lease = await waiters.take(MUTEX, "t", waited=True)
    assert lease.token > holder.token


async def test_a_reservation_that_nobody_takes_ends_and_others_go_on(
    waiters: Waiters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "RESERVE_S", 1.0)
    holder = await waiters.take(MUTEX, "h")
    for task in ("t1", "t2"):
        await waiters.wait(MUTEX, task)
    await waiters.leases.release(holder)
    await waiters.are_woken("t1")
    began = time.monotonic()
    assert isinstance(await waiters.ask(MUTEX, "p"), Blocked)

    async def looked() -> list[str]:
        await waiters.leases.wake(MUTEX.key)
        return await waiters.woken()

    await until(looked, lambda woken: woken == ["t1", "t2"])
    assert time.monotonic() - began > 0.9


async def test_a_release_between_refusal_and_parking_wakes_the_one_that_parks(waiters: Waiters) -> None:
    holder = await waiters.take(MUTEX, "h")
    refused = await waiters.ask(MUTEX, "t")
    assert isinstance(refused, Blocked)
    await waiters.leases.release(holder)
    await waiters.park(refused, "t")
    await waiters.are_woken("t")


class Died(Exception):
    """The process is gone at this step."""


async def test_a_crash_between_reserving_and_waking_costs_no_more_than_a_look(
    waiters: Waiters, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = await waiters.take(MUTEX, "h")
    await waiters.wait(MUTEX, "t")

    async def dies(*_: object) -> bool:
        raise Died

    with monkeypatch.context() as crash:
        crash.setattr(waiters.broker.leases._line, "send", dies)
        with pytest.raises(Died):
            await waiters.leases.release(holder)
    assert (await waiters.holds(MUTEX), await waiters.woken()) == ({"t": Hold.RESERVED}, [])
    await waiters.leases.wake(MUTEX.key)
    await waiters.are_woken("t")
    await waiters.take(MUTEX, "t", waited=True)


async def test_a_crash_between_the_delete_and_the_look_costs_no_more_than_a_look(
    waiters: Waiters, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = await waiters.take(WRITE, "h")
    await waiters.wait(READ, "t")

    async def dies(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as crash:
        crash.setattr(waiters.broker.leases, "wake", dies)
        with pytest.raises(Died):
            await waiters.leases.release(holder)
    assert (await waiters.holds(READ), await waiters.woken()) == ({}, [])
    await waiters.leases.wake(READ.key)
    await waiters.are_woken("t")


async def test_the_first_of_a_line_returns_when_the_lease_before_it_must_have_ended(waiters: Waiters) -> None:
    await waiters.take(msgspec.structs.replace(MUTEX, ttl_s=1.0), "h")
    refused = await waiters.ask(MUTEX, "t")
    assert isinstance(refused, Blocked)
    task = Task("t", "line:Actor", Lane(Priority.NORMAL, Size.SMALL), b"{}")
    now = waiters.broker.now()
    until_ = waiting.falls_back_at(task, refused, now)
    assert now + 1.0 < until_ <= now + 2.1
    await waiters.leases.park(outcome.parked(task, now), refused, until_)
    await waiters.are_woken("t")
    await waiters.take(MUTEX, "t", waited=True)


async def test_the_first_of_a_line_stays_so_when_it_looks_in_vain(waiters: Waiters) -> None:
    """Its holder died, and others came meanwhile: were it the last now, nobody would look at the lease's end."""
    await waiters.take(MUTEX, "dead")
    came = waiters.broker.now()
    await waiters.wait(MUTEX, "later")
    again = await waiters.ask(MUTEX, "first", waited=True, since=came - 5.0)
    assert isinstance(again, Blocked)
    assert again.first
    later = await waiters.ask(MUTEX, "later still", waited=True, since=came + 5.0)
    assert isinstance(later, Blocked)
    assert not later.first


@pytest.mark.parametrize("want", [MUTEX, TWO, READ, WRITE], ids=lambda want: f"{want.name}-{want.mode}")
async def test_the_release_of_a_lost_lease_ends_nobody_elses(waiters: Waiters, want: Want) -> None:
    short = msgspec.structs.replace(want, ttl_s=1.0, permits=1)
    lost = await waiters.take(short, "lost")
    await until(lambda: waiters.holds(want), lambda holds: not holds)
    for task in ("now", "lost"):
        later = await waiters.take(msgspec.structs.replace(want, permits=1), task)
        assert later.token > lost.token
        if task == "lost":  # another run of the same task
            later.holding = msgspec.structs.replace(later.holding, holder="another run")
            assert await waiters.leases.renew(later)
        await waiters.leases.release(lost)
        assert list(await waiters.holds(want)) == [task]
        await waiters.leases.release(later)


async def test_a_lock_that_needs_a_hand_stays_until_there_is_one(waiters: Waiters) -> None:
    want = msgspec.structs.replace(MUTEX, ttl_s=1.0, manual=True)
    lease = await waiters.take(want, "h")
    (entry,) = await waiters.broker.leases.entries(want.key)
    assert (entry.ends_at, lease.until) == (None, float("inf"))
    refused = await waiters.wait(want, "t")
    assert refused.ends_at is None
    assert await waiters.leases.renew(lease)
    (entry,) = await waiters.broker.leases.entries(want.key)
    assert entry.ends_at is None
    await waiters.broker.leases._delete(entry.revision)
    assert not await waiters.leases.renew(lease)
    await waiters.leases.wake(want.key)
    await waiters.are_woken("t")
    later = await waiters.take(want, "t", waited=True)
    await waiters.leases.release(lease)
    assert list(await waiters.holds(want)) == ["t"]
    await waiters.leases.release(later)


async def test_what_is_kept_for_a_task_that_gives_it_up_goes_to_the_next(waiters: Waiters) -> None:
    holder = await waiters.take(MUTEX, "h")
    for task in ("t1", "t2"):
        await waiters.wait(MUTEX, task)
    await waiters.leases.release(holder)
    await waiters.leases.wake(MUTEX.key, given_up_by="t1")
    await waiters.are_woken("t1", "t2")
    assert await waiters.holds(MUTEX) == {"t2": Hold.RESERVED}


async def test_more_readers_than_one_request_reads_wait(waiters: Waiters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("natsume.core.locking.READERS_MAX", 2)
    first, _ = await waiters.take(READ, "r1"), await waiters.take(READ, "r2")
    await waiters.wait(READ, "r3")
    await waiters.leases.release(first)
    await waiters.are_woken("r3")


async def test_what_the_nats_cli_leaves_of_a_deleted_key_keeps_nobody_out(waiters: Waiters) -> None:
    lease = await waiters.take(MUTEX, "h")
    await waiters.wait(MUTEX, "t")
    await waiters.broker.publisher.publish(kv("locks", lease.key).encode(), b"KV-Operation: DEL\r\n", b"")
    await waiters.leases.wake(MUTEX.key)
    await waiters.are_woken("t")
    await waiters.take(MUTEX, "t", waited=True)


async def test_an_entry_that_nobody_can_read_keeps_its_place(waiters: Waiters) -> None:
    await waiters.broker.publisher.publish(kv("locks", f"{MUTEX.key}.0").encode(), b"", b"mine")
    refused = await waiters.wait(MUTEX, "t")
    assert (refused.holder, refused.ends_at) == ("?", None)


@pytest.mark.parametrize(("ttl_s", "stored_s"), [(0.5, 1), (1.4, 2), (2.5, 3), (30.0, 30)])
async def test_the_broker_keeps_a_lease_no_shorter_than_its_holder_thinks(
    waiters: Waiters, ttl_s: float, stored_s: int
) -> None:
    await waiters.take(msgspec.structs.replace(MUTEX, ttl_s=ttl_s), "h")
    (stored,) = await waiters.broker._locks_reader.last([kv(leases_module.BUCKET, f"{MUTEX.key}.*")])
    assert stored.headers["Nats-TTL"] == f"{stored_s}s"


async def test_a_schedule_of_another_program_in_a_line_wakes_nobody(waiters: Waiters, broker: Broker) -> None:
    holder = await waiters.take(MUTEX, "h")
    name = subject.parked(MUTEX.key, "normal", "theirs", 1)
    head = b"Nats-Schedule: @at 2090-01-01T00:00:00Z\r\nNats-Schedule-Target: task.normal.small.g.A\r\n"
    await broker.publisher.publish(name.encode(), head, b"{}")
    await waiters.wait(MUTEX, "t")
    await waiters.leases.release(holder)
    await waiters.are_woken("t")
