"""Puts a conductor together, and the parts of it that commands use alone."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from natsume.actors.registry import Registry
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.events import ActorEvents
from natsume.adapters.nats.feed import RecordFeed
from natsume.adapters.nats.records_feed import LedgerFeed
from natsume.config.agenda import agenda
from natsume.connected import connected
from natsume.connecting import cancelling_of, claiming_of, outlet_of
from natsume.ending import end
from natsume.model.config import Applied, Unreadable
from natsume.model.task import State
from natsume.runtime.canceller import Canceller
from natsume.runtime.dispatcher import Dispatcher
from natsume.runtime.freeing import FreeingFeed
from natsume.runtime.join_pruner import JoinPruner
from natsume.runtime.projector import Projector
from natsume.runtime.pruner import Pruner
from natsume.runtime.reactor import Reactor
from natsume.runtime.reconciler import Reconciler
from natsume.runtime.sweeper import Sweeper
from natsume.runtime.waker import Waker
from natsume.settings import Settings

if TYPE_CHECKING:  # workers and `--help` do without SQLAlchemy
    from sqlalchemy.ext.asyncio import AsyncEngine


_log = logging.getLogger(__name__)

_DUTY_PAUSE_S: Final = 1.0

Duty = Callable[[], Awaitable[None]]


@asynccontextmanager
async def conducting(settings: Settings, registry: Registry | None = None) -> AsyncIterator[None]:
    """A conductor that does its duties until the block ends; any number may run.

    Actors come from the installed entry points where no `registry` is given.
    """
    registry = registry or Registry.load(settings.prefixes)
    async with (
        database(settings) as engine,
        connected(settings, name=f"natsume conductor {settings.worker}") as broker,
    ):
        feed, records = RecordFeed(broker.wire), LedgerFeed(broker.wire)
        events = ActorEvents(broker.wire, broker.publisher, broker.request)
        remember, prepared = _remembering(broker, engine, settings, records)
        bring_back = await _bringing_back(broker, engine, settings, registry, prepared)
        follow = _following(broker, engine, settings, registry, feed, events)
        duties = [asyncio.create_task(_keep(duty)) for duty in (*bring_back, *follow, *remember)]
        try:
            yield
        finally:
            feed.close()
            events.close()
            records.close()
            await end(*duties)


async def _bringing_back(
    broker: Broker, engine: "AsyncEngine", settings: Settings, registry: Registry, prepared: asyncio.Event
) -> tuple[Duty, ...]:
    """What a broker lacks that was lost or is behind: tasks, schedules."""
    from natsume.restoring.restoration import finisher_of, resender_of, restorer_of  # noqa: PLC0415 - they need SQLAlchemy

    reconciler = reconciler_of(broker, settings, registry)
    restorer, resender = restorer_of(broker, engine, settings, registry), resender_of(broker, engine)
    finisher = finisher_of(broker, engine, registry)
    broker.wire.on_restored += [restorer.doubt, reconciler.doubt]
    broker.follow_epoch(restorer.changed)

    def configure(applied: Applied | Unreadable | None) -> None:
        if applied is not None or restorer.known.is_set():  # an empty broker says nothing
            reconciler.configure(applied)
        restorer.changed()

    await broker.config.watch(configure)
    reconcile = _after(restorer.known, reconciler.run)
    return restorer.run, _after(prepared, resender.run), _after(prepared, finisher.run), reconcile


def _following(
    broker: Broker,
    engine: "AsyncEngine",
    settings: Settings,
    registry: Registry,
    feed: RecordFeed,
    events: ActorEvents,
) -> tuple[Duty, ...]:
    """What follows from commits, events, flags and free locks."""
    from natsume.adapters.sql.families import SqlFamilies  # noqa: PLC0415 - workers and `--help` do without SQLAlchemy

    claiming, cancelling = claiming_of(broker, settings.worker), cancelling_of(broker, settings.worker)
    reactor = Reactor(
        FreeingFeed(feed, broker.claims, cancelling),
        broker.joins,
        broker.chunks,
        broker.outgoing,
        broker.inquiries,
        claiming,
        lambda: broker.records_mark,
        broker.now,
    )
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
    canceller = Canceller(broker.flags, cancelling, SqlFamilies(engine), outlet_of(broker))
    waker = Waker(broker.lines, broker.leases)
    return reactor.run, dispatcher.run, canceller.run, waker.run


def _remembering(
    broker: Broker, engine: "AsyncEngine", settings: Settings, records: LedgerFeed
) -> tuple[tuple[Duty, ...], asyncio.Event]:
    """What the ledger takes over, and what then need not be kept; and that it has its schema."""
    from natsume.adapters.sql.ledger import SqlLedger  # noqa: PLC0415 - workers and `--help` do without SQLAlchemy

    ledger = SqlLedger(engine)
    projector = Projector(records, ledger, lambda: broker.records_created)
    pruner = Pruner(ledger, broker.old_records, broker.now, _kept(settings))
    join_pruner = JoinPruner(ledger, broker.old_records, broker.old_joins, broker.now, _kept(settings))
    sweeper = Sweeper(broker.old_chunks, broker.inquiries, broker.now)
    prune = (_after(projector.prepared, pruner.run), _after(projector.prepared, join_pruner.run))
    return (projector.run, *prune, sweeper.run), projector.prepared


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


def _after(fact: asyncio.Event, duty: Duty) -> Duty:
    """A duty that begins once something is so."""

    async def run() -> None:
        await fact.wait()
        await duty()

    return run


async def _keep(duty: Duty) -> None:
    """Do a duty to its end: what it raises is logged, and it starts anew where the broker says that it stopped."""
    while True:
        try:
            return await duty()
        except Exception:  # noqa: BLE001 - one duty's failure must not end the others, nor pass in silence
            _log.exception("a duty of the conductor failed; it starts anew in %g s", _DUTY_PAUSE_S)
            await asyncio.sleep(_DUTY_PAUSE_S)
