"""Locks under contention and without it."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import psutil
from msgspec.structs import replace

from bench.actors import REGISTRY, Alone, Exclusive, Probe, Seen
from bench.measures import percentile
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.client import Client
from natsume.compose.worker import working
from natsume.connected import connected
from natsume.connecting import connect
from natsume.model.lock import Holding
from natsume.settings import Settings

CONTENDERS = 200
HELD_S = 0.01
ALONE = 2_000
PROBES = 300
WAITING = 10_000


@asynccontextmanager
async def worker(url: str, concurrency: int) -> AsyncIterator[None]:
    """A worker process of the measured actors, from when it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.worker", str(concurrency)),
        env={**os.environ, "NATSUME_NATS_URL": url},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline(), "the worker ended before it was ready"
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def delivered(broker: Broker) -> int:
    """Deliveries of the lane of all actors here, redeliveries included."""
    info = await broker.request("$JS.API.CONSUMER.INFO.TASKS.normal-small", b"")
    return int(msgspec.json.decode(info)["delivered"]["consumer_seq"])


async def one_mutex(server: EmbeddedServer) -> dict[str, float]:
    """200 tasks of 10 ms under one mutex, 2 workers of 10: seconds of all, deliveries a task, disorder."""
    settings = Settings.read({}).at(server.url)
    async with (
        connect(settings=settings, registry=REGISTRY) as client,
        connected(settings) as broker,
        AsyncExitStack() as workers,
    ):
        for _ in range(2):
            await workers.enter_async_context(worker(server.url, 10))
        began, before = time.monotonic(), await delivered(broker)
        tokens = await client.submit_many([Exclusive(number) for number in range(CONTENDERS)])
        starts = [await client.result(token, timeout=60) for token in tokens]
        deliveries = await delivered(broker) - before
    in_order = sorted(range(CONTENDERS), key=starts.__getitem__)
    displaced = max(abs(place - number) for place, number in enumerate(in_order))
    serial_s = CONTENDERS * HELD_S
    return {
        "of_serial": (max(starts) + HELD_S - began) / serial_s,
        "deliveries": deliveries / CONTENDERS,
        "displaced": displaced,
    }


async def own_mutexes(server: EmbeddedServer) -> dict[str, float]:
    """What an uncontended mutex adds to an idle start, and tasks a second each under its own."""
    settings = Settings.read({}).at(server.url)
    async with connect(settings=settings, registry=REGISTRY) as client, working(settings, REGISTRY):
        plain = await idle(client, lambda _: Probe(time.perf_counter()))
        locked = await idle(client, lambda number: Alone(time.perf_counter(), number))
        Seen.started.clear()
        began = time.perf_counter()
        await client.submit_many([Alone(0.0, number) for number in range(ALONE)])
        while len(Seen.started) < ALONE:
            await asyncio.sleep(0.001)
        rate = ALONE / (time.perf_counter() - began)
    return {"adds_p50_ms": percentile(locked, 50) - percentile(plain, 50), "tasks_per_s": rate}


async def parked(server: EmbeddedServer) -> dict[str, float]:
    """What 10,000 tasks that wait for one mutex cost the broker, and a task beside them that needs no lock."""
    settings = Settings.read({}).at(server.url)
    process = psutil.Process(server.pid)
    holding = Holding("the bench", "none", 0.0)
    async with (
        connect(settings=settings, registry=REGISTRY) as client,
        connected(settings) as broker,
        working(settings, REGISTRY),
    ):
        await broker.leases.acquire(replace(Exclusive(0).execution_locks[0].want, manual=True), holding)
        before_mb = process.memory_info().rss / 1e6
        alone = await idle(client, lambda _: Probe(time.perf_counter()))
        for start in range(0, WAITING, 1_000):
            await client.submit_many([Exclusive(start + number) for number in range(1_000)])
        while (await broker.stream_info("TASKS", subjects_filter="task.>"))["state"].get("subjects"):
            await asyncio.sleep(0.01)
        beside = await idle(client, lambda _: Probe(time.perf_counter()))
        waiting = (await broker.stream_info("TASKS", subjects_filter="parked.>"))["state"]["subjects"]
        assert len(waiting) >= WAITING, f"only {len(waiting)} wait"
        after_mb = process.memory_info().rss / 1e6
    return {
        "mb": after_mb - before_mb,
        "alone_p50_ms": percentile(alone, 50),
        "beside_p50_ms": percentile(beside, 50),
        "alone_p99_ms": percentile(alone, 99),
        "beside_p99_ms": percentile(beside, 99),
    }


async def idle(client: Client, make: Callable[[int], Probe]) -> list[float]:
    """Seconds from submission to start, one at a time."""
    Seen.started.clear()
    for number in range(PROBES):
        await client.submit(make(number))
        while len(Seen.started) <= number:
            await asyncio.sleep(0)
        await asyncio.sleep(0.002)
    return list(Seen.started)
