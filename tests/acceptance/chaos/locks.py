"""`python -m tests.acceptance.chaos.locks COUNT SEED`: tasks with locks of all kinds, while everything breaks."""

import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import msgspec

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.testing import until

from .installation import WorkerProcess
from .lock_actors import InsideTeller, Teller
from .lock_installation import LockInstallation, backwards
from .proxy import Proxy

KINDS = ("mutex", "mutex", "writer", "reader", "reader", "permit")
STOPPED_S = 7.0
AT_ONCE = 30


class Report(msgspec.Struct):
    """What came of it; `wrong` must be empty."""

    seed: int
    took_s: float
    faults: dict[str, int]
    tasks: int
    starts: int
    refused_writes: int
    accepted_writes: int
    wrong: list[str]


class Storm:
    """Breaks what the seed says, one thing at a time."""

    def __init__(self, locks: LockInstallation, network: Proxy, seed: int) -> None:
        self.faults: Counter[str] = Counter()
        self.rng = Random(seed)
        self._locks = locks
        self._network = network

    async def rage(self) -> None:
        """Break something every now and then, until it is cancelled."""
        while True:
            await asyncio.sleep(self.rng.uniform(0.2, 1.0))
            fault = self.rng.choice(("kill", "freeze", "freeze", "cut", "cut", "restart"))
            self.faults[fault] += 1
            await getattr(self, f"_{fault}")()

    def _some(self) -> WorkerProcess | None:
        alive = [one for one in self._locks.workers if one.alive and "worker ready" in one.said()]
        return self.rng.choice(alive) if alive else None

    async def _kill(self) -> None:
        worker = self._some()
        if worker is not None:
            await worker.kill()

    async def _freeze(self) -> None:
        worker = self._some()
        if worker is not None:
            await worker.freeze()
            await asyncio.sleep(STOPPED_S)
            worker.send(signal.SIGCONT)

    async def _cut(self) -> None:
        self._network.cut()
        await asyncio.sleep(STOPPED_S)
        self._network.mend()

    async def _restart(self) -> None:
        await self._locks.restart_broker()


async def keep_up(locks: LockInstallation, network: Proxy, ahead: Random) -> None:
    """Start anew what has ended: two workers, one behind the network, a conductor; each with a clock of its own."""
    conductor = locks.start_conductor()
    places: dict[str, WorkerProcess] = {}
    while True:
        for place, url in (("one", ""), ("two", ""), ("far", network.url)):
            if place not in places or not places[place].alive:
                more = {"NATSUME_NATS_URL": url} if url else {}
                places[place] = locks.start_worker(ahead_s=ahead.uniform(-900, 900), **more)
        if not conductor.alive:
            conductor = locks.start_conductor()
        await asyncio.sleep(0.1)


async def storm(locks: LockInstallation, count: int, seed: int) -> Report:
    """Ask for so many tasks while all breaks; what came of them."""
    began = time.monotonic()
    await locks.witness()
    async with Proxy(urlsplit(locks.server.url).port or 0) as network:
        raging = Storm(locks, network, seed)
        background = [asyncio.create_task(keep_up(locks, network, raging.rng))]
        await until(lambda: sum("worker ready" in one.said() for one in locks.workers) >= 2)
        background.append(asyncio.create_task(raging.rage()))
        tokens = await _asked(locks, raging.rng, count)
        background[1].cancel()
        network.mend()
        for worker in locks.workers:
            if worker.alive:
                worker.send(signal.SIGCONT)
        with suppress(asyncio.CancelledError):
            await background[1]
        await until(locks.answers, within_s=20.0)
        wrong = await _account(locks, tokens)
        background[0].cancel()
    written = locks.writes()
    return Report(
        seed,
        round(time.monotonic() - began, 1),
        dict(raging.faults),
        len(tokens),
        len(locks.journal.lines("start")),
        len(locks.journal.lines("fenced")),
        sum(map(len, written.values())),
        [*backwards(written), *wrong],
    )


async def _asked(locks: LockInstallation, rng: Random, count: int) -> list[str]:
    """Submit them so that some are always waiting."""
    tokens: list[str] = []
    for number in range(count):
        seconds = rng.choice((0.01, 0.05, 0.5, 1.5))
        actor = InsideTeller if rng.random() < 0.2 else Teller
        task = actor(number, seconds, rng.choice(KINDS), rng.choice("xy"), deaf=rng.random() < 0.5)
        await until(lambda: len(tokens) - len(locks.journal.started()), lambda open_: open_ < AT_ONCE, within_s=120.0)
        while True:
            try:
                tokens.append(await locks.client.submit(task, id=f"teller-{number}"))
                break
            except Exception:  # noqa: BLE001 - the broker is down; the id makes a second try the same task
                await asyncio.sleep(0.1)
    return tokens


async def _account(locks: LockInstallation, tokens: list[str]) -> list[str]:
    wrong = []
    try:
        await locks.all_done(tokens, within_s=200.0)
    except AssertionError as late:
        wrong.append(f"lost or stuck: {late}")
    twice = [task for task, count in (await locks.witnessed(0)).items() if count > 1]
    return wrong + [f"committed twice: {task}" for task in twice]


async def _main(count: int, seed: int) -> int:
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as folder:
        locks = LockInstallation(server, Path(folder))
        try:
            report = await storm(await locks.open(), count, seed)
        finally:
            await locks.close()
            server.kill()
    print(report)
    return bool(report.wrong)


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]))))
