"""Locks while everything breaks: `python -m tests.acceptance.chaos.locks EACH SEED`.

As often as EACH says, in an order and at moments that the seed draws: a worker whose task holds a lock is
stopped and goes on, or is killed; one whose task reads is killed; the broker is killed and restarted; the
network of a worker with a holder is cut. What is stopped or cut stays so until others have its locks, which is
beyond their TTLs. The wall clocks of the workers are up to half an hour apart. In the end every task must have
its one done record, and no write was accepted under a token that was not higher than that before it.
"""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.exceptions import NatsumeError
from natsume.testing import until

from .installation import WorkerProcess
from .lock_account import Asked, Report, Struck, account, went_on
from .lock_actors import BlockingTeller, InsideTeller, Teller
from .lock_installation import LockInstallation
from .proxy import Proxy

KINDS = ("mutex", "mutex", "writer", "reader", "reader", "permit")
ALONE = ("mutex", "writer")
ACTORS = (*[Teller] * 7, InsideTeller, InsideTeller, BlockingTeller)
LONG_S = 0.5
AT_ONCE = 30
CLOCKS_S = 900.0

Fits = Callable[[Teller], bool]


class Storm:
    """Breaks what the seed says, one thing at a time, and keeps up what is to go on."""

    def __init__(self, locks: LockInstallation, network: Proxy, seed: int) -> None:
        self.rng = Random(seed)
        self.struck: list[Struck] = []
        self.asked: dict[str, Asked] = {}
        self.raging = True
        self._locks = locks
        self._network = network
        self._places: dict[str, WorkerProcess] = {}

    async def rage(self, each: int) -> None:
        """Break each thing so often."""
        faults = [self._stop, self._kill, self._kill_reader, self._restart, self._cut] * each
        self.rng.shuffle(faults)
        for fault in faults:
            await asyncio.sleep(self.rng.uniform(0.1, 0.6))
            await fault()
        self.raging = False

    async def keep_up(self) -> None:
        """Start anew what has ended: two workers, one behind the network, and a conductor."""
        conductor = self._locks.start_conductor()
        while True:
            for place, url in (("one", ""), ("two", ""), ("far", self._network.url)):
                if place not in self._places or not self._places[place].alive:
                    more = {"NATSUME_NATS_URL": url} if url else {}
                    ahead_s = self.rng.uniform(-CLOCKS_S, CLOCKS_S)
                    self._places[place] = self._locks.start_worker(ahead_s=ahead_s, **more)
            if not conductor.alive:
                conductor = self._locks.start_conductor()
            await asyncio.sleep(0.1)

    async def ask(self) -> None:
        """Submit tasks as long as anything breaks, so that some are always waiting."""
        while self.raging:
            await until(self._waiting, lambda count: count < AT_ONCE or not self.raging, within_s=120.0)
            seconds = self.rng.choice((0.01, 0.05, LONG_S, 3 * LONG_S))
            kind, key, deaf = self.rng.choice(KINDS), self.rng.choice("xy"), self.rng.random() < 0.7
            await self._submit(self.rng.choice(ACTORS)(len(self.asked), seconds, kind, key, deaf=deaf))

    def _waiting(self) -> int:
        return len(self.asked) - len(self._locks.journal.started())

    async def _submit(self, task: Teller) -> None:
        name = f"teller-{task.number}"
        self.asked[name] = Asked(task)
        while True:
            with suppress(NatsumeError):  # the broker is down; the id makes a second try the same task
                await self._locks.client.submit(task, id=name)
                return
            await asyncio.sleep(0.1)

    # what breaks

    async def _stop(self) -> None:
        while True:
            worker = await self._with(becomes_zombie)
            await worker.freeze()
            if self._locks.bank_is_open():
                break
            worker.send(signal.SIGCONT)  # stopped inside a transaction it keeps all others from the whole file
        await self._strike("a stop", worker)
        worker.send(signal.SIGCONT)

    async def _kill(self) -> None:
        await self._die("a holder's death", lambda task: task.kind in ALONE)

    async def _kill_reader(self) -> None:
        await self._die("a reader's death", lambda task: task.kind == "reader")

    async def _die(self, what: str, fits: Fits) -> None:
        worker = await self._with(fits)
        await worker.kill()
        await self._strike(what, worker)

    async def _cut(self) -> None:
        worker = await self._with(becomes_zombie, only="far")
        self._network.cut()
        await self._strike("a cut", worker)
        self._network.mend()

    async def _restart(self) -> None:
        self.struck.append(Struck("a restart of the broker", time.time()))
        await self._locks.restart_broker()

    async def _strike(self, what: str, worker: WorkerProcess) -> None:
        """Ask for each lock that is held in that worker; returns when somebody else has it, after its TTL."""
        fault = Struck(what, time.time(), self._locks.journal.running(worker.pid))
        self.struck.append(fault)
        for holder in [self.asked[task].task for task in fault.holders if self.asked[task].is_waited_for]:
            await self._submit(Teller(len(self.asked), 0.01, ALONE[holder.kind != "mutex"], holder.key))
        await until(lambda: went_on(self._locks, self.asked, fault), lambda waits: None not in waits, within_s=60.0)

    async def _with(self, fits: Fits, only: str = "") -> WorkerProcess:
        """A worker in which such a task holds its lock now."""

        def look() -> list[WorkerProcess]:
            return [one for place, one in self._places.items() if only in (place, "") and self._runs(one, fits)]

        return self.rng.choice(await until(look, within_s=60.0))

    def _runs(self, worker: WorkerProcess, fits: Fits) -> bool:
        running = self._locks.journal.running(worker.pid)
        return worker.alive and any(fits(self.asked[task].task) for task in running)


def becomes_zombie(task: Teller) -> bool:
    """Whether it is about to write, alone, whatever it is told meanwhile."""
    heedless = isinstance(task, BlockingTeller) or (type(task) is Teller and task.deaf)
    return heedless and task.kind in ALONE and task.seconds >= LONG_S


async def storm(locks: LockInstallation, each: int, seed: int) -> Report:
    """Ask for tasks while each thing breaks so often; what came of them."""
    began = time.monotonic()
    await locks.witness()
    async with Proxy(urlsplit(locks.server.url).port or 0) as network:
        raging = Storm(locks, network, seed)
        keeping = asyncio.create_task(raging.keep_up())
        try:
            await until(lambda: sum("worker ready" in one.said() for one in locks.workers) >= 2)
            async with asyncio.TaskGroup() as both:
                both.create_task(raging.rage(each))
                both.create_task(raging.ask())
            await locks.all_done(raging.asked, within_s=90.0)
        finally:
            keeping.cancel()
            network.mend()
    return await account(locks, raging.asked, raging.struck, seed, time.monotonic() - began)


async def _main(each: int, seed: int) -> int:
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as folder:
        locks = LockInstallation(server, Path(folder))
        try:
            report = await storm(await locks.open(), each, seed)
        finally:
            await locks.close()
            server.kill()
    print(report)
    return bool(report.wrong)


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]))))
