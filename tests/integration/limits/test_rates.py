"""Rate limits on a real broker: no window over the limit, each task once, and nothing burnt that was not used."""

import asyncio

import pytest

from natsume.actors.registry import Registry
from natsume.compose.worker import working
from natsume.exceptions import TaskFailed
from natsume.model.lock import Holding
from natsume.model.task import State
from natsume.ports import Lease
from natsume.testing import leases as held_keys
from natsume.testing import task_done, until

from .actors import Alone, Both, Burst, Contradicts, Even, Many, Other, Seen, Steady, Unlimited


def most_items(window_s: float) -> int:
    starts = sorted(Seen.starts)
    return max(sum(items for at, _, items in starts if first <= at < first + window_s) for first, _, _ in starts)


async def quotas(broker) -> int:
    return int((await broker.stream_info("KV_limiters"))["state"]["messages"])


async def test_two_workers_and_two_actors_share_one_limit(natsume_start_worker, natsume_client):
    for _ in range(2):
        await natsume_start_worker()
    tokens = await natsume_client.submit_many([cls(number) for number in range(50) for cls in (Even, Other)])
    for token in tokens:
        record = await task_done(natsume_client, token)
        assert (record.state, record.attempt) == (State.COMPLETED, 1)
    assert len(Seen.starts) == 100
    assert {what for _, what, _ in Seen.starts[:20]} == {"Even", "Other"}
    assert most_items(1.0) <= Steady.limit + 1


async def test_a_burst_starts_at_once_and_the_next_waits(natsume_worker, natsume_client):
    tokens = await natsume_client.submit_many([Burst(number) for number in range(6)])
    await until(lambda: len(Seen.starts), lambda count: count == 5)

    async def states():
        return [(await natsume_client.status(token)).state for token in tokens]

    await until(states, lambda found: sorted(found) == [State.COMPLETED] * 5 + [State.WAITING])
    await until(lambda: len(Seen.starts), lambda count: count == 6)
    first, last = Seen.starts[0][0], Seen.starts[5][0]
    assert last - first > 10.0 / 5 / 2


async def test_each_task_counts_for_its_items(natsume_worker, natsume_client):
    tokens = await natsume_client.submit_many([Many(10) for _ in range(8)])
    for token in tokens:
        await task_done(natsume_client, token)
    assert [items for _, _, items in Seen.starts] == [10] * 8
    assert most_items(1.0) <= Steady.limit + 10
    times = sorted(at for at, _, _ in Seen.starts)
    assert times[7] - times[0] > 5 * 10 / 40  # and not 7 / 40, as if each counted for one


async def test_a_refused_lock_burns_no_quota(natsume_worker, natsume_client, natsume_broker):
    lease = await natsume_broker.leases.acquire(Alone(0).execution_locks[0].want, Holding("the test", "none", 0.0))
    assert isinstance(lease, Lease)
    token = await natsume_client.submit(Both(1))

    async def parked():
        return (await natsume_broker.stream_info("TASKS", subjects_filter="parked.>"))["state"].get("subjects")

    await until(parked)
    assert await quotas(natsume_broker) == 0
    await natsume_broker.leases.release(lease)
    await task_done(natsume_client, token)
    assert await quotas(natsume_broker) == 1


async def test_who_waits_for_a_place_holds_no_lock(natsume_worker, natsume_client, natsume_broker):
    first, second = await natsume_client.submit_many([Both(1), Both(2)])

    async def later():
        return (await natsume_broker.stream_info("TASKS", subjects_filter="later.>"))["state"].get("subjects") or {}

    (subject,) = await until(later)
    waits = second if second in subject else first
    await until(lambda: held_keys(natsume_broker), lambda held: not held)
    await task_done(natsume_client, await natsume_client.submit(Alone(3)))
    assert (await natsume_client.status(waits)).state is State.WAITING
    assert sorted(what for _, what, _ in Seen.starts) == ["Alone", "Both"]


async def test_a_limiter_without_a_limit_is_not_asked(natsume_worker, natsume_client, natsume_broker):
    await task_done(natsume_client, await natsume_client.submit(Unlimited(1)))
    assert await quotas(natsume_broker) == 0


async def test_two_rules_for_one_limiter_are_a_dead_letter(natsume_worker, natsume_client):
    token = await natsume_client.submit(Contradicts(1))
    with pytest.raises(TaskFailed, match=r"two rules are named for rate:task:x; give one of them a further key"):
        await natsume_client.result(token)


async def test_a_worker_that_stops_gives_back_what_waits_in_hand(
    natsume_start_worker, natsume_client, natsume_settings, natsume_registry
):
    async with working(natsume_settings, Registry.of_classes(natsume_registry)) as first:
        tokens = await natsume_client.submit_many([Even(number) for number in range(60)])
        await until(lambda: first.intake.set_aside, lambda count: count > 10)
    assert first.intake.set_aside == 0
    await natsume_start_worker()
    for token in tokens:
        await task_done(natsume_client, token)
    assert len(Seen.starts) == 60
    assert most_items(1.0) <= Steady.limit + 1


async def test_a_broker_that_is_killed_forgets_no_quota(natsume_server, natsume_start_worker, natsume_client):
    await natsume_start_worker()
    tokens = await natsume_client.submit_many([Even(number) for number in range(80)])
    await until(lambda: len(Seen.starts), lambda count: count > 20)
    await asyncio.to_thread(natsume_server.kill)
    await asyncio.to_thread(natsume_server.start)
    await until(lambda: len(Seen.starts), lambda count: count >= 80)
    for token in tokens:
        await task_done(natsume_client, token)
    assert most_items(1.0) <= Steady.limit + 1
