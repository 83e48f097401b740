"""SIGTERM under load: nothing is stranded, no attempt is counted, what has not started is given back at once."""

import asyncio
import signal
import time
from collections import deque

import pytest

from natsume.model.task import State
from natsume.testing import until

from .actors import Nap
from .installation import Installation, Wiretap, WorkerProcess

TERMINATIONS = 25
GRACE_S = 0.3


@pytest.fixture
def ack_wait_s() -> float:
    """Longer than any test waits: what is stranded is not done in time."""
    return 60.0


async def terminated(worker: WorkerProcess) -> tuple[int, float]:
    began = time.monotonic()
    worker.send(signal.SIGTERM)
    return await worker.ended(), time.monotonic() - began


async def test_twenty_five_terminated_workers_strand_nothing_and_count_no_attempt(installation: Installation) -> None:
    """Some tasks are longer than the grace period, so that they are interrupted and run again.

    Two workers run while the next one starts; the oldest is told to stop.
    """

    def start() -> WorkerProcess:
        return installation.start_worker(8, NATSUME_GRACE_S=f"{GRACE_S}")

    workers = deque(start() for _ in range(3))
    tokens: list[str] = []
    ended: list[asyncio.Task[tuple[int, float]]] = []
    for number in range(TERMINATIONS):
        worker = await workers.popleft().ready()  # else the others may have run all before it comes
        tokens += await installation.client.submit_many([Nap(number, 0.7) for _ in range(2)])
        tokens += await installation.client.submit_many([Nap(number, 0.03) for _ in range(60)])
        workers.append(start())
        await until(lambda: installation.journal.running(worker.pid))  # noqa: B023 - awaited here
        ended.append(asyncio.create_task(terminated(worker)))

    stopped_at = time.time()
    exits, took = zip(*await asyncio.gather(*ended), strict=True)
    records = await installation.all_done(tokens)
    last = max(at for at, _ in records.values()) - stopped_at
    interrupted = sum(count > 1 for count in installation.journal.starts().values())
    print(
        f"{TERMINATIONS} SIGTERMs, {len(tokens)} tasks: {len(tokens) - len(records)} stranded, "
        f"{interrupted} interrupted and run again, exits {sorted(set(exits))} within {max(took):.2f} s, "
        f"last record {last:.2f} s after the last SIGTERM"
    )
    assert set(exits) == {0}
    assert {(record.state, record.attempt) for _, record in records.values()} == {(State.COMPLETED, 1)}
    assert interrupted > 0
    assert max(took) < GRACE_S + 15.0  # no one hung; how long it takes is the bench's


async def test_what_has_not_started_is_given_back_at_once(installation: Installation) -> None:
    """Long before `ack_wait`, another worker runs what only lay in the buffer of a terminated one."""
    tap, journal = Wiretap(installation), installation.journal
    first = await tap.watch(await installation.start_worker(4).ready())
    tokens = await installation.client.submit_many([Nap(number, 0.03) for number in range(60)])
    await until(lambda: journal.running(first.pid))
    long = await installation.client.submit_many([Nap(number, 3.0) for number in range(12)])

    def full() -> set[str]:
        """What is buffered behind long tasks in all four slots."""
        slots = journal.running(first.pid)
        assert len(slots) == 4
        assert slots <= set(long)
        return tap.in_hand(first) - journal.started()

    buffered = await until(full)
    await tap.ignore(first)
    first.send(signal.SIGTERM)
    await until(lambda: not (tap.in_hand(first) & buffered))
    assert first.alive, "it still finishes what runs"
    second = await installation.start_worker(20).ready()
    records, code = await asyncio.gather(installation.all_done(tokens + long), first.ended())
    ran_by = {line.task: line.pid for line in journal.lines("start")}
    print(f"{len(buffered)} buffered when it was told to stop, all run by the other worker; exit {code}")
    assert {ran_by[task] for task in buffered} == {second.pid}
    assert {record.attempt for _, record in records.values()} == {1}
    assert code == 0
