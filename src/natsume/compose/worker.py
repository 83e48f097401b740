"""Puts a worker together."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from msgspec.structs import replace

from natsume.actors.registry import Registry
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.lifeline import NatsLifeline
from natsume.adapters.nats.request import Request
from natsume.adapters.nats.services import WireServices
from natsume.connected import connected
from natsume.enums import Size
from natsume.runtime.keepalive import Keepalive, Lifeline
from natsume.runtime.limit_rules import LimitRules, both
from natsume.runtime.overrides import Overrides
from natsume.runtime.reaching import Execution, in_this_loop
from natsume.runtime.strikes import Standing
from natsume.runtime.worker import Worker
from natsume.runtime.worker_ports import Ports
from natsume.settings import Settings


@asynccontextmanager
async def working(
    settings: Settings,
    registry: Registry,
    size: Size = Size.SMALL,
    concurrency: int = 100,
    agree: Callable[[Request], Awaitable[float]] | None = None,
) -> AsyncIterator[Worker]:
    """A worker that runs until the block ends, and then stops within the grace period.

    `agree` finds the `ack_wait_s` that the broker keeps to, where the settings' may be another.
    """
    async with (
        executing(settings, registry, size, concurrency) as execution,
        connected(settings, name=f"natsume worker {settings.worker}") as broker,
    ):
        if agree is not None:
            settings = replace(settings, ack_wait_s=await agree(broker.request))
        broker.follow_epoch()
        overrides = Overrides()
        rules, strikes = LimitRules(), Standing()
        await broker.config.watch(both(overrides.take, rules.take_file))
        await broker.limits.watch(rules.take_sets)
        await broker.strikes.watch(strikes.take)
        ports = _ports(broker, overrides, rules, strikes)
        worker = Worker(ports, broker.deliveries, registry, settings, size, concurrency, execution)
        await broker.flags.watch(worker.flagging.take)

        async def lifeline() -> Lifeline:
            beside = await Broker.connect(settings, name=f"natsume keepalive {settings.worker}")
            beside.presence.answer(worker.nonce, worker.watch.goes_on)
            WireServices(beside.wire).answer(worker.nonce, worker.state)
            beside.on_restarted.append(worker.watch.broker_restarted)
            return NatsLifeline(beside)

        keepalive = Keepalive(worker.watch, lifeline, settings.ack_wait_s, broker.now)
        await keepalive.start()
        broker.presence.answer(worker.nonce, worker.watch.goes_on)
        broker.wire.on_lost.append(worker.doubt)
        broker.on_restarted.append(worker.broker_restarted)
        try:
            worker.start()
            await asyncio.sleep(0)
            await broker.wire.flush()  # its pulls stand
            yield worker
        finally:
            await worker.stop(settings.grace_s)
            await keepalive.stop()
            await _dispose_engines()


def _ports(broker: Broker, overrides: Overrides, rules: LimitRules, strikes: Standing) -> Ports:
    return Ports(
        broker.records,
        broker.records,
        broker.outgoing,
        broker.leases,
        broker.limiters,
        broker.chunks,
        broker.joins,
        broker.inquiries,
        broker.schedules,
        broker.now,
        broker,
        broker.presence,
        overrides,
        rules,
        strikes,
        rules.of_block,
    )


@asynccontextmanager
async def executing(settings: Settings, registry: Registry, size: Size, concurrency: int) -> AsyncIterator[Execution]:
    """How tasks of a size are run: small ones on the worker's loop, others in processes that end with the block."""
    if size is Size.SMALL:
        yield in_this_loop
        return
    from natsume.slots.pool import slots  # noqa: PLC0415 - a worker of small tasks does without

    async with slots(settings, registry, size, concurrency) as pool:
        yield pool


async def _dispose_engines() -> None:
    """Close the tasks' databases, where any was used: only then is SQLAlchemy loaded at all."""
    databases = sys.modules.get("natsume.databases")
    if databases is not None:
        await databases.dispose_engines()
