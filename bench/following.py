"""What follows from a commit, with the conductor in a process of its own."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil

from bench.actors import Noop, Seen
from bench.measures import percentile
from natsume import BaseTask, CallbackSpawner
from natsume.actors.registry import Registry
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.compose.worker import working
from natsume.connected import connected
from natsume.connecting import connect
from natsume.model.subject import EVENTS, LANES, event_consumer
from natsume.model.task import Task
from natsume.settings import Settings

MEMBERS = 10_000
DUE = 2_000
PENDING = 100_000


@dataclass
class Called(BaseTask):
    async def execute(self) -> None:
        Seen.started.append(time.perf_counter())


@dataclass
class Spawns(BaseTask):
    members: int

    async def execute(self, spawner: CallbackSpawner) -> None:
        await spawner.spawn_with_callback((Noop(number) for number in range(self.members)), Called())


@dataclass
class HasChild(BaseTask):
    async def execute(self) -> float:
        await Called().schedule()
        return time.perf_counter()


@dataclass
class Told(BaseTask):
    events = ("bench.told",)
    at: float

    async def execute(self) -> None:
        Seen.started.append(time.perf_counter() - self.at)


REGISTRY = Registry.of_classes({f"bench:{cls.__name__}": cls for cls in (Noop, Called, Spawns, HasChild, Told)})
INSTALLED = ("natsume.cli", "conductor")
OURS = ("bench.conductor",)
"""The first knows the installed actors, the second ours: who dispatches events must know who takes them."""


@asynccontextmanager
async def conductor(url: str, command: Sequence[str] = INSTALLED, **environment: str) -> AsyncIterator[None]:
    """A conductor process with a ledger of its own, from when it is ready."""
    folder = tempfile.mkdtemp(prefix="natsume-bench-")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *command,
        env={**os.environ, "NATSUME_NATS_URL": url, "NATSUME_DATA_DIR": folder, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    while b"conductor ready" not in (line := await process.stderr.readline()):
        assert line, "the conductor ended before it was ready"
    reading = asyncio.create_task(process.stderr.read())
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()
        await reading
        shutil.rmtree(folder)


async def joining(server: EmbeddedServer) -> dict[str, float]:
    """Seconds from a parent's submission to its callback's start, beside draining as many plain tasks."""
    settings = Settings.read({}).at(server.url)
    async with connect(settings=settings, registry=REGISTRY) as client, conductor(server.url):
        await client.submit_many([Noop(number) for number in range(MEMBERS)])
        Seen.count = 0
        began = time.perf_counter()
        async with working(settings, REGISTRY):
            while Seen.count < MEMBERS:
                await asyncio.sleep(0.001)
            plain_s = time.perf_counter() - began
            Seen.started.clear()
            began = time.perf_counter()
            await client.submit(Spawns(MEMBERS))
            while not Seen.started:
                await asyncio.sleep(0.001)
            join_s = Seen.started[0] - began
    return {"join_s": join_s, "plain_s": plain_s}


async def child_latency(server: EmbeddedServer) -> dict[str, float]:
    """Milliseconds from the end of a parent's `execute` to the start of its child, idle."""
    settings = Settings.read({}).at(server.url)
    waits: list[float] = []
    async with (
        connect(settings=settings, registry=REGISTRY) as client,
        conductor(server.url),
        working(settings, REGISTRY),
    ):
        for _ in range(300):
            Seen.started.clear()
            ended = await client.result(await client.submit(HasChild()))
            while not Seen.started:
                await asyncio.sleep(0)
            waits.append(Seen.started[0] - ended)
            await asyncio.sleep(0.002)
    return {"p50_ms": percentile(waits, 50), "p99_ms": percentile(waits, 99)}


async def event_latency(server: EmbeddedServer) -> dict[str, float]:
    """Milliseconds from `publish` to the start of the event's task, idle."""
    settings = Settings.read({}).at(server.url)
    async with (
        connect(settings=settings, registry=REGISTRY) as client,
        connected(settings) as broker,
        conductor(server.url, OURS),
        working(settings, REGISTRY),
    ):
        name = f"$JS.API.CONSUMER.INFO.{EVENTS}.{event_consumer('bench:Told')}"
        while b'"num_waiting":1' not in await broker.request(name, b""):
            await asyncio.sleep(0.01)
        Seen.started.clear()
        for number in range(300):
            await client.publish("bench.told", {"at": time.perf_counter()})
            while len(Seen.started) <= number:
                await asyncio.sleep(0)
            await asyncio.sleep(0.002)
    return {"p50_ms": percentile(Seen.started, 50), "p99_ms": percentile(Seen.started, 99)}


async def due_at_once(server: EmbeddedServer) -> dict[str, float]:
    """Seconds from the instant at which 2,000 tasks are due until the last has started."""
    settings = Settings.read({}).at(server.url)
    Seen.started.clear()
    async with connected(settings) as broker, working(settings, REGISTRY):
        actor = REGISTRY.find("bench:Called")
        now = broker.now()
        due, due_here = now + 3.0, time.perf_counter() + 3.0
        tasks = [Task(os.urandom(16).hex(), actor.name, actor.lane, b"{}") for _ in range(DUE)]
        await asyncio.gather(*(broker.outgoing.arm(task, due) for task in tasks))
        assert time.perf_counter() < due_here, "arming took longer than the tasks were to wait"
        while len(Seen.started) < DUE:
            await asyncio.sleep(0.005)
    return {"last_s": max(Seen.started) - due_here, "first_s": min(Seen.started) - due_here}


async def pending_memory(server: EmbeddedServer) -> dict[str, float]:
    """What 100,000 pending schedules cost the broker, in MB."""
    settings = Settings.read({}).at(server.url)
    process = psutil.Process(server.pid)
    async with connected(settings) as broker:
        before = process.memory_info().rss
        due = broker.now() + 86_400
        for start in range(0, PENDING, 2_000):
            tasks = [Task(f"{start + number:032x}", "bench:Called", LANES[0], b"{}") for number in range(2_000)]
            await asyncio.gather(*(broker.outgoing.arm(task, due) for task in tasks))
        return {"mb": (process.memory_info().rss - before) / 1e6}
