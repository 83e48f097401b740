"""At most so many tasks at a time, also when that number is changed while they run."""

import pytest

from natsume.testing import leases as held_keys
from natsume.testing import task_done, until

from .actors import Crowd, Seen, Shift


@pytest.fixture
def shift(monkeypatch):
    def shift(limit: int) -> None:
        monkeypatch.setattr(Shift, "limit", limit)

    shift(4)
    return shift


async def parked(broker) -> int:
    info = await broker.stream_info("TASKS", subjects_filter="parked.>")
    return len(info["state"].get("subjects") or ())


async def test_not_more_run_than_are_allowed_over_two_workers(
    natsume_start_worker, natsume_client, natsume_broker, shift
):
    for _ in range(2):
        await natsume_start_worker()
    tokens = await natsume_client.submit_many([Crowd(number) for number in range(12)])
    await until(lambda: Seen.running, lambda count: count == 4)
    await until(lambda: parked(natsume_broker), lambda count: count == 8)
    Seen.leave(12)
    for token in tokens:
        await task_done(natsume_client, token)
    assert (Seen.most, len(Seen.starts)) == (4, 12)


async def test_with_fewer_permits_nobody_is_evicted_and_nobody_starts_until_there_are_fewer(
    natsume_worker, natsume_client, natsume_broker, shift
):
    tokens = await natsume_client.submit_many([Crowd(number) for number in range(8)])
    await until(lambda: Seen.running, lambda count: count == 4)
    await until(lambda: parked(natsume_broker), lambda count: count == 4)
    shift(2)
    tokens.append(await natsume_client.submit(Crowd(8)))
    await until(lambda: parked(natsume_broker), lambda count: count == 5)
    for left in (3, 2):
        Seen.leave(1)
        # Who was woken by one who had not heard of it is refused, and waits again.
        await until(lambda: held_keys(natsume_broker), lambda held, left=left: len(held) == left)
        await until(lambda: parked(natsume_broker), lambda count: count == 5)
        assert (Seen.running, len(Seen.starts)) == (left, 4)
    Seen.most = 0
    Seen.leave(9)
    for token in tokens:
        await task_done(natsume_client, token)
    assert (Seen.most <= 2, len(Seen.starts)) == (True, 9)


async def test_more_permits_are_used_from_the_next_start_on(natsume_worker, natsume_client, natsume_broker, shift):
    shift(1)
    tokens = await natsume_client.submit_many([Crowd(number) for number in range(8)])
    await until(lambda: parked(natsume_broker), lambda count: count == 7)
    shift(4)
    Seen.leave(1)
    await until(lambda: Seen.running, lambda count: count == 4)
    Seen.leave(8)
    for token in tokens:
        await task_done(natsume_client, token)
    assert (Seen.most, len(Seen.starts)) == (4, 8)
