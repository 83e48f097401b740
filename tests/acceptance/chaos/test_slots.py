"""A task that would take others with it takes its own slot; good ones beside it do not notice."""

import json
import random
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.model.task import Reason, State
from natsume.testing import leases, until

from .slot_actors import Allocates, Family, Forks, Good, Ignores, Segfaults, Spins
from .slot_installation import SlotInstallation, gone

GOOD = 500
KILLS = 20
GROWTH_MAX_MB = 20.0
BAD = {
    Allocates: (Reason.MEMORY_LIMIT, "ResourceLimitExceeded", "memory_limit_mb of 300 MB"),
    Spins: (Reason.CPU_LIMIT, "ResourceLimitExceeded", "cpu_limit_s of 1 s"),
    Segfaults: (Reason.SIGNAL, "ProcessDied", "SIGSEGV"),
    Forks: (Reason.PROCESSES_LEFT, "ProcessesLeft", "2 running processes"),
    Ignores: (Reason.TIME_LIMIT, "ResourceLimitExceeded", "timeout_s of 1 s"),
}


@pytest.fixture
def ack_wait_s() -> float:
    return 1.0


@pytest.fixture
async def slots(tmp_path: Path, ack_wait_s: float) -> AsyncIterator[SlotInstallation]:
    with EmbeddedServer() as server:
        installation = SlotInstallation(server, tmp_path, ack_wait_s)
        try:
            yield await installation.open()
        finally:
            await installation.close()
            server.kill()


async def test_five_bad_ones_among_500_in_one_worker_end_alone(slots: SlotInstallation) -> None:
    client = slots.client
    worker = await slots.start("medium", concurrency=4).ready()
    await slots.all_done(await client.submit_many([Good(number) for number in range(50)]))
    before_mb = worker.memory_mb()
    good = await client.submit_many([Good(number, 0.005) for number in range(GOOD // 2)])
    bad = [await client.submit(bad()) for bad in BAD]
    good += await client.submit_many([Good(number, 0.005) for number in range(GOOD // 2)])
    records = await slots.all_done([*good, *bad], within_s=60)
    assert {records[task][1].state for task in good} == {State.COMPLETED}
    for task, (reason, kind, words) in zip(bad, BAD.values(), strict=True):
        done = records[task][1]
        assert done.letter is not None
        assert done.failure is not None
        assert (done.state, done.letter.reason, done.failure.type) == (State.FAILED, reason, kind), done.failure
        assert words in done.failure.message
    said = [json.loads(line) for line in worker.said().splitlines() if '"napped"' in line]
    told = {line["task"] for line in said if (line["attempt"], line["actor"]) == (1, "chaos_slots:Good")}
    assert told >= set(good), "a line of a task in a slot has the task's fields"
    pids = {line.pid for line in slots.journal.lines("left")}
    left = [process for process in psutil.process_iter() if process.pid in pids]
    await until(lambda: gone(left))
    await until(lambda: leases(slots.broker), lambda held: not held)
    assert len(slots.family_of(worker)) <= 1 + 4, "its template and as many slots as it runs tasks"
    grown_mb = worker.memory_mb() - before_mb
    print(f"{GOOD} good, {len(BAD)} bad; the worker grew by {grown_mb:.1f} MB to {worker.memory_mb():.0f} MB")
    assert grown_mb < GROWTH_MAX_MB
    family = slots.family_of(worker)
    worker.send(signal.SIGTERM)
    assert await worker.ended() == 0
    await until(lambda: gone(family))


async def test_a_slot_that_is_killed_costs_its_task_an_attempt_and_nothing_else(slots: SlotInstallation) -> None:
    await slots.witness()
    worker = await slots.start("medium", concurrency=3).ready()
    tokens: list[str] = []
    victims = dict[int, str]()  # by the slot that was killed, which may be there for a moment yet
    for _ in range(KILLS):
        tokens += await slots.client.submit_many([Good(number, 0.3) for number in range(10)])
        running = await until(lambda: [one for one in slots.running(worker) if one[0] not in victims])
        pid, task = random.choice(running)
        psutil.Process(pid).kill()
        victims[pid] = task
    records = await slots.all_done(tokens, within_s=60)
    counts = await slots.witnessed(len(tokens))
    tried = [record.attempt for _, record in records.values()]
    print(f"{KILLS} slots killed: {len(tokens)} tasks, {sum(tried)} attempts, {sum(counts.values())} commits")
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert counts == dict.fromkeys(tokens, 1)
    assert {task for task, (_, record) in records.items() if record.attempt > 1} <= set(victims.values())
    assert sum(tried) <= len(tokens) + KILLS


@pytest.mark.timeout(300)
async def test_with_a_killed_worker_all_its_processes_end_and_no_task_is_lost(slots: SlotInstallation) -> None:
    await slots.witness()
    workers = [await slots.start("medium", concurrency=3).ready() for _ in range(2)]
    tokens: list[str] = []
    for kill in range(KILLS):
        worker = await workers[kill % 2].ready()
        # Long enough that the other worker, which has been ready for longer, cannot have run them all by then.
        tokens += await slots.client.submit_many([Good(number, 0.3) for number in range(20)])
        await until(partial(slots.running, worker))
        family = slots.family_of(worker)
        await worker.kill()
        workers[kill % 2] = slots.start("medium", concurrency=3)
        await until(partial(gone, family))
        await slots.all_done(tokens)
    records = await slots.all_done(tokens, within_s=60)
    counts = await slots.witnessed(len(tokens))
    starts = slots.journal.starts()
    print(f"{KILLS} workers killed: {len(tokens)} tasks, {sum(starts.values())} starts, {sum(counts.values())} commits")
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert counts == dict.fromkeys(tokens, 1)


async def test_programs_that_a_task_started_end_with_the_worker_too(slots: SlotInstallation) -> None:
    worker = await slots.start("large", concurrency=2).ready()
    await slots.client.submit_many([Family(number) for number in range(2)])
    lines = await until(lambda: slots.journal.lines("child"), lambda lines: len(lines) == 2)
    family = slots.family_of(worker)
    assert {one.pid for one in family} >= {int(line.text) for line in lines}
    await worker.kill()
    await until(lambda: gone(family))


async def test_a_worker_whose_template_is_killed_goes_on_with_another(slots: SlotInstallation) -> None:
    await slots.witness()
    worker = await slots.start("medium", concurrency=3).ready()
    tokens = await slots.client.submit_many([Good(number, 0.1) for number in range(20)])
    await until(partial(slots.running, worker))
    for template in slots.templates_of(worker):
        template.kill()
    records = await slots.all_done(tokens)
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert await slots.witnessed(len(tokens)) == dict.fromkeys(tokens, 1)
    assert worker.alive
