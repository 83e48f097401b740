"""`kill -9` of the broker: workers and clients go on, nothing acknowledged is lost, nothing runs twice."""

import asyncio
import itertools

from natsume.model.task import State
from natsume.testing import until

from .actors import Nap
from .installation import Installation

KILLS = 3
TASKS = 300
BURST = 1000
SUBMITTERS = 8
IN_FLIGHT_S = 0.1


async def test_three_kills_of_the_broker_lose_nothing_and_run_nothing_twice(
    installation: Installation,
) -> None:
    workers = [await installation.start_worker(concurrency=8).ready() for _ in range(2)]
    numbers = itertools.count()
    acknowledged: list[str] = []

    async def submit() -> None:
        while next(numbers) < TASKS:
            acknowledged.append(await installation.client.submit(Nap(len(acknowledged), 0.03)))
            await asyncio.sleep(0.05)

    submitters = [asyncio.create_task(submit()) for _ in range(SUBMITTERS)]
    for kill in range(KILLS):
        enough = (kill + 1) * TASKS // (KILLS + 1)
        await until(lambda: len(acknowledged), lambda count: count >= enough)  # noqa: B023 - awaited here
        burst = set(await installation.client.submit_many([Nap(number) for number in range(BURST)]))
        acknowledged += burst
        await until(lambda: len(burst & installation.journal.started()) >= BURST // 2)  # noqa: B023 - awaited here
        await installation.restart_broker()
    await asyncio.gather(*submitters)

    records = await installation.all_done(acknowledged)
    lines = installation.journal.lines("start")
    late = [line.at - records[line.task][0] for line in lines if line.at > records[line.task][0]]
    more = {task: count for task, count in installation.journal.starts().items() if count > 1}
    print(
        f"{KILLS} kills of the broker: {len(acknowledged)} acknowledged, {len(acknowledged) - len(records)} lost, "
        f"{len(lines)} starts, {len(more)} tasks started more than once, {len(late)} starts after the commit"
    )
    assert len(records) == len(acknowledged) >= TASKS + KILLS * BURST
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert more == {}
    assert [lateness for lateness in late if lateness > IN_FLIGHT_S] == []
    assert all(worker.alive for worker in workers)
