"""SIGTERM under load: nothing is stranded, no attempt is counted, what has not started is given back at once."""

import asyncio
import signal
import time

from natsume.model.task import State
from natsume.testing import until

from .actors import Nap
from .installation import Installation, Wiretap

TERMINATIONS = 25
GRACE_S = 0.4


async def test_twenty_five_terminated_workers_strand_nothing_and_count_no_attempt(installation: Installation) -> None:
    """Some tasks are longer than the grace period, so that they are interrupted and run again."""
    tap = Wiretap(installation)
    started = [installation.start_worker(8, NATSUME_GRACE_S=f"{GRACE_S}") for _ in range(2)]
    workers = [await tap.watch(await worker.ready()) for worker in started]
    tokens: list[str] = []
    exits, took, given_back = [], [], 0
    for number in range(TERMINATIONS):
        short = await installation.client.submit_many([Nap(number, 0.03) for _ in range(60)])
        tokens += short + await installation.client.submit_many([Nap(number, 0.7) for _ in range(2)])
        worker = workers[number % 2]
        await until(lambda: installation.journal.running(worker.pid))  # noqa: B023 - awaited here
        began = time.monotonic()
        worker.send(signal.SIGTERM)
        following = installation.start_worker(8, NATSUME_GRACE_S=f"{GRACE_S}")
        exits.append(await worker.ended())
        took.append(time.monotonic() - began)
        given_back += len(tap.in_hand(worker) - installation.journal.started())
        workers[number % 2] = await tap.watch(await following.ready())

    stopped_at = time.time()
    records = await installation.all_done(tokens)
    last = max(at for at, _ in records.values()) - stopped_at
    interrupted = sum(count > 1 for count in installation.journal.starts().values())
    print(
        f"{TERMINATIONS} SIGTERMs, {len(tokens)} tasks: {len(tokens) - len(records)} stranded, "
        f"{interrupted} interrupted and run again, exits {sorted(set(exits))} within {max(took):.2f} s, "
        f"last record {last:.2f} s after the last one"
    )
    assert set(exits) == {0}
    assert given_back == 0, "a worker ended with deliveries that it had neither started nor given back"
    assert {(record.state, record.attempt) for _, record in records.values()} == {(State.COMPLETED, 1)}
    assert interrupted > 0
    assert max(took) < GRACE_S + 3.0


async def test_what_has_not_started_is_given_back_at_once(installation: Installation) -> None:
    """Long before `ack_wait`, another worker runs what only lay in the buffer of a terminated one."""
    tap = Wiretap(installation)
    first = await tap.watch(await installation.start_worker(4).ready())
    tokens = await installation.client.submit_many([Nap(number, 0.03) for number in range(60)])
    await until(lambda: installation.journal.running(first.pid))
    tokens += await installation.client.submit_many([Nap(number, 3.0) for number in range(12)])
    buffered = await until(lambda: tap.in_hand(first) - installation.journal.started(), within_s=15.0)
    await first.freeze()
    buffered = tap.in_hand(first) - installation.journal.started()
    assert buffered
    first.send(signal.SIGTERM)
    first.send(signal.SIGCONT)
    await until(lambda: not (tap.in_hand(first) & buffered), within_s=1.0)
    assert first.alive, "it still finishes what runs"
    second = await installation.start_worker(20).ready()
    records, code = await asyncio.gather(installation.all_done(tokens), first.ended())
    ran_by = {line.task: line.pid for line in installation.journal.lines("start")}
    print(f"{len(buffered)} buffered when it was told to stop, all run by the other worker; exit {code}")
    assert {ran_by[task] for task in buffered} == {second.pid}
    assert {record.attempt for _, record in records.values()} == {1}
    assert code == 0
