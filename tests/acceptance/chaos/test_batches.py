"""`kill -9` of a batch in flight, and one task among 500 that nothing survives."""

import math

import pytest

from natsume.model.task import Reason, State
from natsume.testing import until

from .actors import Batched, BatchedRaising
from .installation import Installation
from .test_poison import MAX_CRASHES, Restarted

KILLS = 20
TASKS = 100
COUNT = 500
# Who is killed alone this often is no poison here: the oldest task is the first to run after each kill.
KILLED = {"NATSUME_MAX_CRASHES": str(KILLS)}
STARTS_MAX = 2 * math.log2(COUNT) + 2


pytestmark = pytest.mark.timeout(300)  # twenty workers start and die one after the other


@pytest.fixture
def ack_wait_s() -> float:
    return 1.0


async def test_twenty_workers_killed_in_a_batch_lose_nothing_and_each_task_is_committed_once(
    installation: Installation,
) -> None:
    await installation.witness()
    tokens: list[str] = []
    running = 0
    for _ in range(KILLS):
        worker = await installation.start_worker(3, **KILLED).ready()
        tokens += await installation.client.submit_many([Batched(number, 0.3) for number in range(TASKS)])
        running += len(await until(lambda pid=worker.pid: installation.journal.running(pid)))
        await worker.kill()
    await installation.start_worker(3, **KILLED).ready()
    records = await installation.all_done(tokens, within_s=120.0)
    counts = await installation.witnessed(len(tokens))
    starts = installation.journal.starts()
    print(f"{KILLS} kills, {len(tokens)} tasks: {running} were running; starts: {sorted(starts.values())[-1]} at most")
    assert running > KILLS
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert counts == dict.fromkeys(tokens, 1)


async def test_of_500_one_that_kills_its_worker_is_a_dead_letter_and_the_others_are_committed(
    installation: Installation,
) -> None:
    await installation.witness()
    tokens = await installation.client.submit_many([Batched(number, poison=number == 321) for number in range(COUNT)])
    poison = tokens.pop(321)
    worker = Restarted(installation)
    try:
        records = await installation.all_done([poison, *tokens], within_s=180.0)
    finally:
        worker.stop()
    _, dead = records.pop(poison)
    starts = installation.journal.starts()
    died = len(worker.exits)
    print(
        f"poison: {starts.pop(poison)} starts; innocents: {max(starts.values())} at most; the worker died {died} times"
    )
    assert dead.letter is not None
    assert (dead.state, dead.letter.reason, dead.crashes) == (State.DROPPED, Reason.CRASHED, MAX_CRASHES)
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert max(starts.values()) <= STARTS_MAX
    assert await installation.witnessed(COUNT) == dict.fromkeys([poison, *tokens], 1)


async def test_of_500_one_whose_call_always_raises_fails_alone(installation: Installation) -> None:
    tasks = [BatchedRaising(number, poison=number == 123) for number in range(COUNT)]
    tokens = await installation.client.submit_many(tasks)
    poison = tokens.pop(123)
    installation.start_worker()
    records = await installation.all_done([poison, *tokens], within_s=60.0)
    _, dead = records.pop(poison)
    starts = installation.journal.starts()
    print(f"poison: {starts.pop(poison)} starts; innocents: {max(starts.values())} at most")
    assert dead.letter is not None
    assert dead.state is State.FAILED
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert max(starts.values()) <= STARTS_MAX
