"""What a process of its own costs a task: a warm one over none, and a fresh one over all."""

import statistics
import time
from dataclasses import dataclass

import sqlalchemy

from bench.measures import percentile
from natsume import BaseTask, Size
from natsume.actors.registry import Registry
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.client import Client
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.settings import Settings

TASKS = 500
LARGE = 50


@dataclass
class Small(BaseTask):
    """A probe; its result is when it started, on the clock that all processes share."""

    number: int

    async def execute(self) -> float:
        return time.monotonic()


@dataclass
class Medium(Small):
    size = Size.MEDIUM


@dataclass
class Large(Small):
    """Of an application that has SQLAlchemy imported."""

    size = Size.LARGE

    async def execute(self) -> float:
        assert sqlalchemy.__version__
        return time.monotonic()


REGISTRY = Registry.of_classes({f"bench:{cls.__name__}": cls for cls in (Small, Medium, Large)})


async def slot_overhead(server: EmbeddedServer) -> dict[str, float]:
    """Milliseconds from submission to result, one by one: of small tasks, and of medium ones in one warm slot."""
    settings = Settings.read({}).at(server.url)
    async with (
        connect(settings=settings, registry=REGISTRY) as client,
        working(settings, REGISTRY, concurrency=1),
        working(settings, REGISTRY, Size.MEDIUM, concurrency=1),
    ):
        small, medium = [], []
        for number in range(TASKS):  # in turn, so that both have the machine in the same state
            small.append(await _trip(client, Small(number)))
            medium.append(await _trip(client, Medium(number)))
    return {
        "small_p50_ms": percentile(small, 50),
        "medium_p50_ms": percentile(medium, 50),
        "small_p99_ms": percentile(small, 99),
        "medium_p99_ms": percentile(medium, 99),
    }


async def _trip(client: Client, task: Small) -> float:
    began = time.monotonic()
    await client.result(await client.submit(task))
    return time.monotonic() - began


async def fresh_process(server: EmbeddedServer) -> dict[str, float]:
    """Milliseconds from the submission of a large task to the start of its `execute`, its process among it."""
    settings = Settings.read({}).at(server.url)
    async with (
        connect(settings=settings, registry=REGISTRY) as client,
        working(settings, REGISTRY, Size.LARGE, concurrency=1),
    ):
        starts = []
        for number in range(LARGE):
            began = time.monotonic()
            starts.append(await client.result(await client.submit(Large(number))) - began)
    return {"p50_ms": statistics.median(starts) * 1000, "max_ms": max(starts) * 1000}
