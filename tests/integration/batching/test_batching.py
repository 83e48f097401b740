"""Tasks that run together: each keeps its own id, record, retries, children, locks, flag and end."""

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from natsume.actors.registry import Registry
from natsume.compose.worker import working
from natsume.model.lock import Holding
from natsume.model.record import child_id
from natsume.model.task import Reason, State
from natsume.testing import leases, task_done, until

from . import actors
from .actors import (
    CALLS,
    HELD_UP,
    BadKey,
    Brief,
    ByKey,
    Child,
    Few,
    Gate,
    Gathers,
    Locked,
    Orphans,
    Parents,
    Retried,
    Spawner,
    Stoppable,
    Urgent,
)


@pytest.fixture
def natsume_registry():
    return {f"t:{cls.__name__}": cls for cls in actors.ALL}


@pytest.fixture(autouse=True)
def fresh():
    CALLS.clear()
    Gate.open = asyncio.Event()


async def ends(client, tokens):
    return [await task_done(client, token) for token in tokens]


def numbers():
    return [called for _, called in CALLS]


async def test_many_submissions_are_run_by_one_call_and_each_has_its_own_record(natsume_client, natsume_worker):
    tokens = await natsume_client.submit_many([Gathers(number) for number in range(50)])
    records = await ends(natsume_client, tokens)
    assert [record.id for record in records] == tokens
    assert {record.state for record in records} == {State.COMPLETED}
    assert numbers() == [list(range(50))]


async def test_a_call_is_never_larger_than_its_actor_says(natsume_client, natsume_start_worker):
    tokens = await natsume_client.submit_many([Few(number) for number in range(8)])
    await natsume_start_worker()
    await ends(natsume_client, tokens)
    assert sorted(map(len, numbers())) == [2, 3, 3]


async def test_a_worker_of_one_slot_fills_a_batch_as_well(natsume_client, natsume_start_worker):
    tokens = await natsume_client.submit_many([Gathers(number) for number in range(300)])
    await natsume_start_worker(concurrency=1)
    await ends(natsume_client, tokens)
    assert len(CALLS) <= 3


async def test_the_call_may_fail_some_and_succeed_the_rest(natsume_client, natsume_worker):
    whats = ["", "fail", "", "for good", ""]
    tokens = await natsume_client.submit_many([Gathers(number, what) for number, what in enumerate(whats)])
    records = await ends(natsume_client, tokens)
    assert [record.state for record in records] == [State.FAILED if what else State.COMPLETED for what in whats]
    assert records[1].failure.message == "this one"
    assert len(CALLS) == 1


async def test_a_member_that_fails_is_tried_again_and_the_others_are_not(natsume_client, natsume_worker):
    tokens = await natsume_client.submit_many([Retried(number, "x" * (number == 1)) for number in range(3)])
    records = await ends(natsume_client, tokens)
    assert [record.attempt for record in records] == [1, 2, 1]
    assert numbers() == [[0, 1, 2], [1]]


async def test_a_member_may_snooze(natsume_client, natsume_worker):
    token, other = await natsume_client.submit_many([Gathers(1, "snooze"), Gathers(2)])
    await task_done(natsume_client, other)
    assert (await natsume_client.status(token)).done is None
    await until(lambda: numbers() == [[1, 2], [1]])


async def test_a_call_that_raises_is_halved_until_the_culprit_is_alone(natsume_client, natsume_worker):
    tokens = await natsume_client.submit_many([Gathers(number, "raise" * (number == 300)) for number in range(500)])
    records = await ends(natsume_client, tokens)
    assert [record.id for record in records if record.state is State.FAILED] == [tokens[300]]
    assert [300] in numbers()
    most = max(sum(number in called for called in numbers()) for number in range(500) if number != 300)
    assert most <= 20


async def test_what_cannot_be_understood_fails_all_and_says_why(natsume_client, natsume_worker):
    records = await ends(natsume_client, await natsume_client.submit_many([Gathers(1, "nonsense"), Gathers(2)]))
    assert all("is not the id of one of its tasks" in record.failure.message for record in records)


async def test_a_call_that_takes_too_long_is_halved_too(natsume_client, natsume_worker):
    tokens = await natsume_client.submit_many([Brief(number, "block" * (number == 2)) for number in range(4)])
    records = await ends(natsume_client, tokens)
    assert [record.state for record in records] == [State.COMPLETED] * 2 + [State.FAILED, State.COMPLETED]
    assert records[2].failure.type == "ResourceLimitExceeded"


async def test_tasks_of_one_key_run_together_and_of_two_keys_never(natsume_client, natsume_worker):
    tokens = await natsume_client.submit_many([ByKey(number, "ab"[number % 2]) for number in range(10)])
    await ends(natsume_client, tokens)
    assert sorted(numbers()) == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]


async def test_a_key_that_fails_is_the_end_of_its_task_alone(natsume_client, natsume_worker):
    good, bad = await ends(natsume_client, await natsume_client.submit_many([BadKey(1, "a"), BadKey(2, "bad")]))
    assert good.state is State.COMPLETED
    assert bad.letter.reason is Reason.INVALID_ARGUMENTS
    assert "batch_key failed: KeyError" in bad.failure.message


async def test_children_and_joins_are_those_of_the_member(natsume_client, natsume_worker, natsume_conductor):
    tokens = await natsume_client.submit_many([Parents(0), Parents(1, "fail"), Parents(2)])
    records = await ends(natsume_client, tokens)
    assert [len(record.children) for record in records] == [2, 0, 2]
    for number in (0, 2):
        assert (await task_done(natsume_client, child_id(tokens[number], 0))).result == msgspec.Raw(
            str(number).encode()
        )
        join = child_id(tokens[number], "join-0")
        assert (await task_done(natsume_client, child_id(join, "callback"))).state is State.COMPLETED
    assert len(CALLS) == 1


async def test_what_has_no_member_has_no_children(natsume_client, natsume_worker):
    (record,) = await ends(natsume_client, [await natsume_client.submit(Orphans(1))])
    assert "inside `with member(task):`" in record.failure.message


async def test_a_join_counts_tasks_that_run_together(natsume_client, natsume_worker, natsume_conductor):
    token = await natsume_client.submit(Spawner(40))
    join = await natsume_client.result(token)
    assert (await task_done(natsume_client, child_id(join, "callback"))).state is State.COMPLETED
    assert sum(map(len, numbers())) == 40


async def test_a_batch_takes_the_union_of_its_locks_each_once(natsume_client, natsume_broker, natsume_worker):
    tokens = await natsume_client.submit_many([Locked(number, f"shared,{number % 3}") for number in range(9)])
    assert {record.state for record in await ends(natsume_client, tokens)} == {State.COMPLETED}
    assert numbers() == [list(range(9))]
    await until(lambda: leases(natsume_broker), lambda held: not held)


async def test_a_member_whose_lock_another_holds_waits_by_itself(natsume_client, natsume_broker, natsume_worker):
    (lock,) = Locked(0, "a").execution_locks
    lease = await natsume_broker.leases.acquire(lock.want, Holding("the test", "none", natsume_broker.now()))
    waits, *others = await natsume_client.submit_many([Locked(1, "a"), Locked(2, "b"), Locked(3, "c")])
    await ends(natsume_client, others)
    assert numbers() == [[2, 3]]
    await natsume_broker.leases.release(lease)
    assert (await task_done(natsume_client, waits)).state is State.COMPLETED


async def test_of_a_lost_lock_only_those_that_named_it_run_again(natsume_client, natsume_worker):
    tokens = await natsume_client.submit_many([Locked(number, "aabb"[number]) for number in range(HELD_UP)])
    await until(lambda: CALLS)
    watch = natsume_worker.watch
    (lost,) = [(lease, holder) for lease, holder in watch.leases() if lease.want.name.endswith("a")]
    watch.lost(*lost)
    await until(lambda: sum(run.lost for run in watch.runs.values()) == 2)
    Gate.open.set()
    assert {record.state for record in await ends(natsume_client, tokens)} == {State.COMPLETED}
    assert sorted(number for called in numbers()[1:] for number in called) == [0, 1]


async def test_one_that_is_cancelled_before_the_call_is_not_in_it(natsume_client, natsume_start_worker):
    tokens = await natsume_client.submit_many([Gathers(number) for number in range(3)], track=True)
    await natsume_client.cancel(tokens[1])
    await natsume_start_worker()
    records = await ends(natsume_client, tokens)
    assert [record.state for record in records] == [State.COMPLETED, State.CANCELLED, State.COMPLETED]


async def test_a_running_call_is_interrupted_once_all_its_members_are_cancelled(natsume_client, natsume_worker):
    tokens = await natsume_client.submit_many([Stoppable(number, "block") for number in range(2)], track=True)
    await until(lambda: CALLS)
    await natsume_client.cancel(tokens[0])
    await until(lambda: any(run.flag for run in natsume_worker.watch.runs.values()))
    assert len(natsume_worker.watch.runs) == 2
    await natsume_client.cancel(tokens[1])
    assert {record.state for record in await ends(natsume_client, tokens)} == {State.CANCELLED}


async def test_what_gathers_holds_no_slot(natsume_client, natsume_start_worker):
    worker = await natsume_start_worker(concurrency=1)
    await natsume_client.submit(Urgent(1))
    await until(lambda: worker.watch.in_hand)
    token = await natsume_client.submit(Child(5))
    assert (await task_done(natsume_client, token)).state is State.COMPLETED
    assert not CALLS


async def test_a_shutdown_gives_back_what_gathers_and_what_it_interrupts(
    natsume_client, natsume_settings, natsume_registry
):
    registry, settings = Registry.of_classes(natsume_registry), replace(natsume_settings, grace_s=0.1)
    async with working(settings, registry) as worker:
        tokens = await natsume_client.submit_many([Gathers(number, "block") for number in range(3)])
        await until(lambda: CALLS)
        await natsume_client.submit_many([Urgent(number) for number in range(2)])
        await until(lambda: len(worker.watch.in_hand) == 5)
    Gate.open.set()
    async with working(settings, registry):
        records = await ends(natsume_client, tokens)
    assert [record.attempt for record in records] == [1, 1, 1]
    assert sorted(numbers()[-1]) == [0, 1, 2]
