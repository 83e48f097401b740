"""One function a measure; each returns what was reached and what the ceiling was in the same run."""

import asyncio
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

from bench import ceilings
from bench.actors import REGISTRY, Noop, Probe, Seen, Slow, Urgent
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.settings import Settings

DRAIN = 20_000


async def _fresh(url: str) -> Settings:
    settings = Settings.read({}).at(url)
    async with connect(settings=settings, registry=REGISTRY):
        return settings


async def _until(count: int) -> None:
    while Seen.count < count:
        await asyncio.sleep(0.002)


async def submitting(server: EmbeddedServer) -> dict[str, float]:
    """Submissions a second, many and one by one, beside raw publishes."""
    settings = await _fresh(server.url)
    nc = await ceilings.connect(server.url)
    subject = "task.background.large.bench.Noop"
    raw_many = await ceilings.pipelined_publishes(nc, subject, 50_000)
    raw_one = await ceilings.awaited_publishes(nc, subject, 3_000)
    await nc.close()
    async with connect(settings=settings, registry=REGISTRY) as client:
        began = time.perf_counter()
        await client.submit_many([Noop(number) for number in range(50_000)])
        many = 50_000 / (time.perf_counter() - began)
        began = time.perf_counter()
        for number in range(3_000):
            await client.submit(Noop(number))
        one = 3_000 / (time.perf_counter() - began)
    return {"many": many, "raw_many": raw_many, "one": one, "raw_one": raw_one}


async def draining(server: EmbeddedServer) -> dict[str, float]:
    """No-op tasks a second through one worker of concurrency 100, beside the raw loop on the same messages."""
    settings = await _fresh(server.url)
    async with connect(settings=settings, registry=REGISTRY) as client:
        await client.submit_many([Noop(number) for number in range(DRAIN)])
        nc = await ceilings.connect(server.url)
        raw = await ceilings.raw_drain(nc, "normal-small", DRAIN)
        await nc.close()
        await client.submit_many([Noop(number) for number in range(DRAIN)])
    Seen.count = 0
    began = time.perf_counter()
    async with working(settings, REGISTRY):
        await _until(DRAIN)
        reached = DRAIN / (time.perf_counter() - began)
    return {"drain": reached, "raw_drain": raw}


async def idle_latency(server: EmbeddedServer) -> dict[str, float]:
    """Milliseconds from submit to start on an idle worker, beside raw publish to standing pull."""
    settings = await _fresh(server.url)
    nc = await ceilings.connect(server.url)
    raw = await ceilings.raw_latency(nc, "background-large", "task.background.large.bench.Noop", 500)
    await nc.close()
    Seen.started.clear()
    async with connect(settings=settings, registry=REGISTRY) as client, working(settings, REGISTRY):
        for number in range(500):
            await client.submit(Probe(time.perf_counter()))
            while len(Seen.started) <= number:
                await asyncio.sleep(0)
            await asyncio.sleep(0.002)
    return {
        "p50_ms": percentile(Seen.started, 50),
        "p99_ms": percentile(Seen.started, 99),
        "raw_p50_ms": percentile(raw, 50),
        "raw_p99_ms": percentile(raw, 99),
    }


async def urgent_latency(server: EmbeddedServer) -> dict[str, float]:
    """Milliseconds from submit to start of 50 realtime tasks while 10,000 background tasks are queued."""
    settings = await _fresh(server.url)
    Seen.started.clear()
    Seen.count = 0
    async with connect(settings=settings, registry=REGISTRY) as client:
        await client.submit_many([Slow(number) for number in range(10_000)])
        async with working(settings, REGISTRY, concurrency=10):
            await _until(200)
            for number in range(50):
                await client.submit(Urgent(time.perf_counter()))
                while len(Seen.started) <= number:
                    await asyncio.sleep(0.0005)
            assert Seen.count < 10_000, "the background ran out before the realtime tasks were measured"
    return {"p50_ms": percentile(Seen.started, 50), "p99_ms": percentile(Seen.started, 99)}


async def memory(server: EmbeddedServer) -> dict[str, float]:
    """The resident memory of a worker process after 20,000 and after 200,000 tasks, in MB."""
    settings = await _fresh(server.url)
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.worker", "100", env={**os.environ, "NATSUME_NATS_URL": server.url}
    )
    sizes: list[float] = []
    try:
        async with connect(settings=settings, registry=REGISTRY) as client:
            for batch in (20_000, 180_000):
                ids: list[str] = []
                for _ in range(batch // 20_000):
                    ids = await client.submit_many([Noop(number) for number in range(20_000)])
                await client.result(ids[-1], timeout=120)
                await _drained(server.url)
                sizes.append(psutil.Process(worker.pid).memory_info().rss / 1e6)
    finally:
        worker.terminate()
        await worker.wait()
    return {"after_20k_mb": sizes[0], "after_200k_mb": sizes[1]}


async def _drained(url: str) -> None:
    nc = await ceilings.connect(url)
    js = nc.jetstream()
    while (info := await js.consumer_info("TASKS", "normal-small")).num_pending + (info.num_ack_pending or 0):
        await asyncio.sleep(0.05)
    await nc.close()


def starting(url: str) -> dict[str, float]:
    """Seconds until `natsume worker` says that it is ready, and that `natsume --help` takes."""
    command = Path(sys.executable).with_name("natsume")
    began = time.perf_counter()
    subprocess.run([command, "--help"], check=True, capture_output=True)
    help_s = time.perf_counter() - began
    began = time.perf_counter()
    worker = subprocess.Popen(
        [command, "worker", "--size", "small"],
        env={**os.environ, "NATSUME_NATS_URL": url},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stderr is not None
    for line in worker.stderr:
        if re.search("worker ready", line):
            break
    else:
        raise SystemExit("the worker ended before it was ready")
    ready_s = time.perf_counter() - began
    worker.terminate()
    worker.communicate(timeout=10)
    return {"worker_ready_s": ready_s, "help_s": help_s}


def percentile(seconds: list[float], percent: int) -> float:
    """A percentile of some seconds, in milliseconds."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1000
