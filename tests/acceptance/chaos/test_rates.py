"""A rate limit under faults: never more starts in a second than it allows, and every task still runs."""

import asyncio
import signal
from bisect import bisect_right
from collections.abc import Sequence

from natsume.model.task import State
from natsume.testing import until

from .actors import Rated, Sixty
from .installation import Installation

TASKS = 300
KILLS = 3
ALLOWED = Sixty.limit + Sixty.burst


def most_in_a_second(installation: Installation) -> int:
    times = sorted(line.at for line in installation.journal.lines("start"))
    return max(bisect_right(times, first + 1.0) - number for number, first in enumerate(times))


async def ended(installation: Installation, tokens: Sequence[str], what: str) -> None:
    records = await installation.all_done(tokens)
    starts = installation.journal.starts()
    most, more = most_in_a_second(installation), sum(count > 1 for count in starts.values())
    print(f"{what}: {len(records)} done, {more} started more than once, at most {most} of {ALLOWED} in a second")
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert set(starts) == set(tokens)
    assert most <= ALLOWED


async def started(installation: Installation, count: int) -> None:
    await until(lambda: len(installation.journal.started()), lambda found: found >= count)


async def test_workers_that_are_killed_between_a_place_and_its_start(installation: Installation) -> None:
    """At each kill the victim holds what is to start within the next half second."""
    workers = [await installation.start_worker().ready() for _ in range(2)]
    tokens = await installation.client.submit_many([Rated(number) for number in range(TASKS)])
    for kill in range(1, KILLS + 1):
        await started(installation, kill * TASKS // (KILLS + 2))
        await workers.pop(0).kill()
        workers.append(await installation.start_worker().ready())
    await ended(installation, tokens, f"{KILLS} kills of workers")


async def test_a_broker_that_is_killed_twice(installation: Installation) -> None:
    for _ in range(2):
        await installation.start_worker().ready()
    tokens = await installation.client.submit_many([Rated(number) for number in range(TASKS)])
    for kill in (1, 2):
        await started(installation, kill * TASKS // 4)
        await installation.restart_broker()
    await started(installation, TASKS)
    await ended(installation, tokens, "2 kills of the broker")


async def test_a_worker_that_stood_still_starts_nothing_whose_place_has_passed(installation: Installation) -> None:
    workers = [await installation.start_worker().ready() for _ in range(2)]
    tokens = await installation.client.submit_many([Rated(number) for number in range(TASKS)])
    await started(installation, TASKS // 5)
    await workers[0].freeze()
    await started(installation, TASKS // 2)
    workers[0].send(signal.SIGCONT)
    await ended(installation, tokens, "a worker stood still")
    assert all(worker.alive for worker in workers)


async def test_tasks_that_keep_coming_are_started_at_the_rate(installation: Installation) -> None:
    await installation.start_worker().ready()
    tokens: list[str] = []
    while len(tokens) < TASKS:
        tokens.append(await installation.client.submit(Rated(len(tokens))))
        await asyncio.sleep(0)
    await ended(installation, tokens, "one by one")
