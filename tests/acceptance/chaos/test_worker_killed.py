"""`kill -9` of a worker: its tasks run again within `ack_wait`, none is lost, each is committed once."""

import signal
import time

import pytest

from natsume.model.task import State
from natsume.testing import until

from .actors import Nap
from .installation import Installation, Wiretap, WorkerProcess

KILLS = 10
TASKS = 300
MARGIN_S = 1.0


@pytest.fixture
def ack_wait_s() -> float:
    return 1.0


async def frozen_in_the_middle(installation: Installation, tap: Wiretap, worker: WorkerProcess) -> tuple[set, set]:
    """Stop a worker while it runs at least one task and holds at least one that has not started."""

    def look() -> tuple[set, set]:
        return installation.journal.running(worker.pid), tap.in_hand(worker) - installation.journal.started()

    async def freeze() -> tuple[set, set]:
        if not all(look()):
            return set(), set()
        await worker.freeze()
        running, buffered = look()
        if not (running and buffered):
            worker.send(signal.SIGCONT)
        return running, buffered

    return await until(freeze, all)


async def test_ten_killed_workers_lose_nothing_and_each_task_is_committed_once(installation: Installation) -> None:
    await installation.witness()
    tap = Wiretap(installation)
    workers = [await tap.watch(await installation.start_worker(concurrency=6).ready()) for _ in range(2)]
    tokens: list[str] = []
    waits, ran, waited = [], 0, 0
    for kill in range(KILLS):
        tokens += await installation.client.submit_many([Nap(number, 0.03) for number in range(TASKS)])
        victim = workers[kill % 2]
        running, buffered = await frozen_in_the_middle(installation, tap, victim)
        await tap.ignore(victim)
        killed_at = time.time()
        await victim.kill()
        workers[kill % 2] = installation.start_worker(concurrency=6)
        ran, waited = ran + len(running), waited + len(buffered)
        await installation.all_done(tokens)
        again = [line.at for line in installation.journal.lines("start") if line.task in running | buffered]
        waits.append(min(at for at in again if at > killed_at) - killed_at)
        await tap.watch(await workers[kill % 2].ready())

    records = await installation.all_done(tokens)
    counts = await installation.witnessed(len(tokens))
    starts = installation.journal.starts()
    print(
        f"{KILLS} kills, {len(tokens)} tasks: {ran} were running, {waited} buffered; {sum(starts.values())} starts; "
        f"{len(tokens) - len(records)} lost; running again after {min(waits):.2f} to {max(waits):.2f} s"
    )
    assert set(records) == set(tokens)
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert counts == dict.fromkeys(tokens, 1)
    assert max(waits) < installation.ack_wait_s + MARGIN_S
    assert sum(starts.values()) <= len(tokens) + ran, "what was only buffered has started twice"


async def test_a_worker_that_was_stopped_beyond_ack_wait_commits_nothing_a_second_time(
    installation: Installation,
) -> None:
    """Another worker runs its tasks; when it wakes up, it returns from them too late."""
    await installation.witness()
    zombie = await installation.start_worker(10).ready()
    tokens = await installation.client.submit_many([Nap(number, 0.5) for number in range(10)])
    await until(lambda: installation.journal.running(zombie.pid), lambda running: len(running) == 10)
    await zombie.freeze()
    await installation.start_worker(10).ready()
    records = await installation.all_done(tokens)
    zombie.send(signal.SIGCONT)
    await until(lambda: not installation.journal.running(zombie.pid))
    zombie.send(signal.SIGTERM)
    code = await zombie.ended()
    counts = await installation.witnessed(len(tokens))
    starts = installation.journal.starts()
    print(f"stopped in {len(tokens)} tasks: {sum(starts.values())} starts, {sum(counts.values())} commits, exit {code}")
    assert starts == dict.fromkeys(tokens, 2)
    assert counts == dict.fromkeys(tokens, 1)
    assert await installation.records(tokens) == records
    assert code == 0
