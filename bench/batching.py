"""What it gains to run many tasks in one call: the same number of submissions, drained together and one by one."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from bench.actors import Noop, Seen
from natsume import BaseTask
from natsume.actors.registry import Registry
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.settings import Settings

TASKS = 100_000
STEP = 20_000


@dataclass
class Together(BaseTask):
    """500 at a time in 2 ms."""

    batch_max = 500
    batch_wait_s = 0.05
    number: int

    @classmethod
    async def execute_batch(cls, tasks: Sequence[Self]) -> None:
        await asyncio.sleep(0.002)
        Seen.count += len(tasks)
        Seen.started.append(len(tasks))


REGISTRY = Registry.of_classes({"bench:Noop": Noop, "bench:Together": Together})


async def draining_batches(server: EmbeddedServer) -> dict[str, float]:
    """Tasks a second of 100,000 that are committed and acknowledged: in batches, and plain no-op ones."""
    settings = Settings.read({}).at(server.url)
    async with connect(settings=settings, registry=REGISTRY):
        pass
    plain = await _drain(settings, Noop)
    Seen.started.clear()
    together = await _drain(settings, Together)
    return {"plain": plain, "together": together, "batch_mean": sum(Seen.started) / len(Seen.started)}


async def _drain(settings: Settings, actor: type) -> float:
    async with connect(settings=settings, registry=REGISTRY) as client:
        for start in range(0, TASKS, STEP):
            await client.submit_many([actor(number) for number in range(start, start + STEP)])
    Seen.count = 0
    began = time.perf_counter()
    async with working(settings, REGISTRY) as worker:
        while Seen.count < TASKS or worker.watch.in_hand:
            await asyncio.sleep(0.002)
        return TASKS / (time.perf_counter() - began)
