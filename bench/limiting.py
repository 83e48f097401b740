"""Rate limits: one that makes tasks wait, and what one costs that does not."""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from itertools import pairwise

from bench.actors import REGISTRY, Free, Hundred, Limited, Probe, Seen
from bench.locking import delivered, idle, worker
from bench.measures import percentile
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.client import Client
from natsume.compose.worker import working
from natsume.connected import connected
from natsume.connecting import connect
from natsume.core.limit_rules import with_set
from natsume.lock_registry import LockedObjectType
from natsume.model.config import LimitConfig, LimitSet
from natsume.model.limit_rule import RateRule
from natsume.settings import Settings

WAITING = 1_000
FREE = 5_000
CHANGES = 100


async def one_rate(server: EmbeddedServer) -> dict[str, float]:
    """1,000 tasks at once under 100 a second, 2 workers of 10: the last start, most in a second, deliveries a task."""
    settings = Settings.read({}).at(server.url)
    async with (
        connect(settings=settings, registry=REGISTRY) as client,
        connected(settings) as broker,
        AsyncExitStack() as workers,
    ):
        for _ in range(2):
            await workers.enter_async_context(worker(server.url, 10))
        began, before = time.monotonic(), await delivered(broker)
        tokens = await client.submit_many([Limited(number) for number in range(WAITING)])
        starts = sorted([await client.result(token, timeout=60) for token in tokens])
        deliveries = await delivered(broker) - before
    most = max(bisect_left(starts, first + 1.0) - number for number, first in enumerate(starts))
    spaces = sorted(two - one for one, two in pairwise(starts))
    return {
        "last_s": starts[-1] - began,
        "most": most,
        "deliveries": deliveries / WAITING,
        "space_p1_ms": spaces[len(spaces) // 100] * 1e3,
        "space_p99_ms": spaces[-len(spaces) // 100] * 1e3,
    }


async def free_rate(server: EmbeddedServer) -> dict[str, float]:
    """What a limiter that is free adds to an idle start, and tasks a second under it and under none."""
    settings = Settings.read({}).at(server.url)
    async with connect(settings=settings, registry=REGISTRY) as client, working(settings, REGISTRY):
        plain_s = await idle(client, lambda _: Probe(time.perf_counter()))
        limited_s = await idle(client, lambda _: Free(time.perf_counter()))
        plain = await _rate(client, Probe)
        limited = await _rate(client, Free)
    adds_ms = percentile(limited_s, 50) - percentile(plain_s, 50)
    return {"adds_p50_ms": adds_ms, "plain": plain, "limited": limited}


async def changed_limit(server: EmbeddedServer) -> dict[str, float]:
    """From the wish to change a limit until it holds in each of two workers."""
    settings = Settings.read({}).at(server.url)
    lock, actor = Hundred(LockedObjectType.JOB, "the one"), REGISTRY.of(Limited)
    took: list[float] = []
    async with (
        connected(settings) as broker,
        working(settings, REGISTRY) as one,
        working(settings, REGISTRY) as other,
    ):
        for limit in range(200, 200 + CHANGES):
            change = LimitSet(lock.lock_key, LimitConfig(limit), "bench", "measured", broker.now())
            began = time.perf_counter()
            await broker.limits.change(partial(with_set, one=change))
            for worker in (one, other):
                while not isinstance(rule := worker._ports.rule(lock, actor, None), RateRule) or rule.limit != limit:
                    await asyncio.sleep(0.0005)
            took.append(time.perf_counter() - began)
    return {"p50_ms": percentile(took, 50), "max_ms": max(took) * 1e3}


async def _rate(client: Client, make: Callable[[float], Probe]) -> float:
    Seen.started.clear()
    began = time.perf_counter()
    await client.submit_many([make(0.0) for _ in range(FREE)])
    while len(Seen.started) < FREE:
        await asyncio.sleep(0.001)
    return FREE / (time.perf_counter() - began)
