"""Puts the parts together: the only place that knows the runtime and the adapters at once."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from natsume.actors.registry import Registry
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.events import ActorEvents
from natsume.adapters.nats.feed import RecordFeed
from natsume.adapters.nats.lifeline import NatsLifeline
from natsume.adapters.nats.records_feed import LedgerFeed
from natsume.adapters.nats.services import WireServices
from natsume.config.agenda import agenda
from natsume.connecting import cancelling_of, claiming_of, connected
from natsume.enums import Size
from natsume.model.config import Applied, Unreadable
from natsume.model.task import State
from natsume.runtime.canceller import Canceller
from natsume.runtime.dispatcher import Dispatcher
from natsume.runtime.freeing import FreeingFeed
from natsume.runtime.keepalive import Keepalive, Lifeline
from natsume.runtime.limit_rules import LimitRules, both
from natsume.runtime.overrides import Overrides
from natsume.runtime.projector import Projector
from natsume.runtime.pruner import Pruner
from natsume.runtime.reaching import Execution, in_this_loop
from natsume.runtime.reactor import Reactor
from natsume.runtime.reconciler import Reconciler
from natsume.runtime.strikes import Standing
from natsume.runtime.sweeper import Sweeper
from natsume.runtime.waker import Waker
from natsume.runtime.worker import Worker
from natsume.runtime.worker_ports import Ports
from natsume.settings import Settings

if TYPE_CHECKING:  # workers and `--help` do without SQLAlchemy
    from sqlalchemy.ext.asyncio import AsyncEngine

_log = logging.getLogger(__name__)

_DUTY_PAUSE_S: Final = 1.0


@asynccontextmanager
async def working(
    settings: Settings, registry: Registry, size: Size = Size.SMALL, concurrency: int = 100
) -> AsyncIterator[Worker]:
    """A worker that runs until the block ends, and then stops within the grace period."""
    async with (
        executing(settings, registry, size, concurrency) as execution,
        connected(settings, name=f"natsume worker {settings.worker}") as broker,
    ):
        broker.follow_epoch()
        overrides = Overrides()
        rules, strikes = LimitRules(), Standing()
        await broker.config.watch(both(overrides.take, rules.take_file))
        await broker.limits.watch(rules.take_sets)
        await broker.strikes.watch(strikes.take)
        ports = Ports(
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


@asynccontextmanager
async def executing(settings: Settings, registry: Registry, size: Size, concurrency: int) -> AsyncIterator[Execution]:
    """How tasks of a size are run: small ones on the worker's loop, others in processes that end with the block."""
    if size is Size.SMALL:
        yield in_this_loop
        return
    from natsume.slots.pool import slots  # noqa: PLC0415 - a worker of small tasks does without

    async with slots(settings, registry, size, concurrency) as pool:
        yield pool


@asynccontextmanager
async def conducting(settings: Settings, registry: Registry | None = None) -> AsyncIterator[None]:
    """A conductor that does its duties until the block ends; any number may run.

    Actors come from the installed entry points where no `registry` is given.
    """
    from natsume.adapters.sql.ledger import SqlLedger  # noqa: PLC0415 - workers and `--help` do without SQLAlchemy
    from natsume.restoring.restoration import resender_of, restorer_of  # noqa: PLC0415

    registry = registry or Registry.load(settings.prefixes)
    async with (
        database(settings) as engine,
        connected(settings, name=f"natsume conductor {settings.worker}") as broker,
    ):
        feed = RecordFeed(broker.wire)
        claiming = claiming_of(broker, settings.worker)
        cancelling = cancelling_of(broker, settings.worker)
        reactor = Reactor(
            FreeingFeed(feed, broker.claims, cancelling),
            broker.joins,
            broker.chunks,
            broker.outgoing,
            claiming,
            lambda: broker.records_mark,
            broker.now,
        )
        events = ActorEvents(broker.wire, broker.publisher, broker.request)
        dispatcher = Dispatcher(
            events,
            broker.outgoing,
            broker.records,
            registry,
            claiming,
            broker.now,
            lambda: broker.events_mark,
            settings.worker,
        )
        reconciler = reconciler_of(broker, settings, registry)
        restorer, resender = restorer_of(broker, engine, settings, registry), resender_of(broker, engine)
        broker.wire.on_restored += [restorer.doubt, reconciler.doubt]
        broker.follow_epoch(restorer.changed)

        def configure(applied: Applied | Unreadable | None) -> None:
            if applied is not None or restorer.known.is_set():  # an empty broker says nothing
                reconciler.configure(applied)
            restorer.changed()

        async def reconcile() -> None:
            await restorer.known.wait()
            await reconciler.run()

        await broker.config.watch(configure)
        records = LedgerFeed(broker.wire)
        ledger = SqlLedger(engine)
        projector = Projector(records, ledger, lambda: broker.records_created)
        pruner = Pruner(ledger, broker.old_records, broker.now, _kept(settings))
        waker = Waker(broker.lines, broker.leases)
        canceller = Canceller(broker.flags, cancelling)
        sweeper = Sweeper(broker.old_chunks, broker.inquiries, broker.now)
        runs = (sweeper.run, reactor.run, dispatcher.run, reconcile, waker.run, projector.run, pruner.run)
        duties = [asyncio.create_task(_keep(duty)) for duty in (restorer.run, resender.run, canceller.run, *runs)]
        try:
            yield
        finally:
            feed.close()
            events.close()
            records.close()
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)


def _kept(settings: Settings) -> dict[State, float]:
    """How long the ledger keeps a task by how it ended, in seconds."""
    days = {State.COMPLETED: settings.keep_completed_days}
    days |= dict.fromkeys((State.FAILED, State.CANCELLED, State.DROPPED), settings.keep_failed_days)
    return {state: count * 86_400 for state, count in days.items()}


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator["AsyncEngine"]:
    """The ledger's database, which need not be there yet; raises UsageError for a URL that none of ours has."""
    from natsume.adapters.sql.engine import engine_of  # noqa: PLC0415 - workers and `--help` do without SQLAlchemy

    engine = engine_of(settings)
    try:
        yield engine
    finally:
        await engine.dispose()


def reconciler_of(broker: Broker, settings: Settings, registry: Registry) -> Reconciler:
    """A reconciler of this broker's schedules, of a generation that begins now."""
    generation = broker.now()
    return Reconciler(
        broker.schedules,
        broker.outgoing,
        broker.records,
        lambda config: agenda(registry, config, settings.schedules_off or (), generation),
        broker.now,
        generation,
    )


async def _keep(duty: Callable[[], Awaitable[None]]) -> None:
    """Do a duty to its end: what it raises is logged, and it starts anew where the broker says that it stopped."""
    while True:
        try:
            return await duty()
        except Exception:  # noqa: BLE001 - one duty's failure must not end the others, nor pass in silence
            _log.exception("a duty of the conductor failed; it starts anew in %g s", _DUTY_PAUSE_S)
            await asyncio.sleep(_DUTY_PAUSE_S)


async def _dispose_engines() -> None:
    """Close the tasks' databases, where any was used: only then is SQLAlchemy loaded at all."""
    databases = sys.modules.get("natsume.databases")
    if databases is not None:
        await databases.dispose_engines()
