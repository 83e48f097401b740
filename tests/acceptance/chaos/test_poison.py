"""A task that kills its worker ends as a dead letter; the innocents beside it all complete."""

import asyncio

import pytest

from natsume.model.task import Reason, State

from .actors import Nap, Poison
from .installation import Installation, WorkerProcess

MAX_CRASHES = 3
INNOCENTS = 10


@pytest.fixture
def ack_wait_s() -> float:
    return 1.0


class Restarted:
    """A worker that is started again whenever it ends, as a service manager does."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.exits: list[int] = []
        self._worker: WorkerProcess | None = None
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            self._worker = self._installation.start_worker(concurrency=20)
            self.exits.append(await self._worker.ended(60.0))

    def stop(self) -> None:
        self._task.cancel()
        assert self._worker is not None
        self._worker.process.kill()


async def test_poison_is_a_dead_letter_after_four_starts_and_ten_innocents_complete(
    installation: Installation,
) -> None:
    client = installation.client
    innocents = await client.submit_many([Nap(number, 0.3) for number in range(INNOCENTS // 2)])
    poison = await client.submit(Poison())
    innocents += await client.submit_many([Nap(number, 0.3) for number in range(INNOCENTS // 2)])
    worker = Restarted(installation)
    try:
        records = await installation.all_done([poison, *innocents])
    finally:
        worker.stop()
    _, dead = records.pop(poison)
    starts = installation.journal.starts()
    print(
        f"poison: {starts[poison]} starts, {dead.crashes} counted crashes; {INNOCENTS} innocents: "
        f"{sum(starts[task] for task in innocents)} starts; the worker died {len(worker.exits)} times"
    )
    assert dead.letter is not None
    assert (dead.state, dead.letter.reason, dead.crashes) == (State.DROPPED, Reason.CRASHED, MAX_CRASHES)
    assert starts[poison] <= MAX_CRASHES + 1
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert set(records) == set(innocents)
