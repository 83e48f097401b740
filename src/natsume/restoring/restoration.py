"""Puts together what brings tasks back: for conductors, and for `natsume restore`."""

import os

from sqlalchemy.ext.asyncio import AsyncEngine

from natsume.actors.registry import Registry
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.kept import KvKept
from natsume.adapters.nats.topology import ensure
from natsume.adapters.sql.reading import SqlReading
from natsume.adapters.sql.remains import SqlEpochs, SqlRemains
from natsume.adapters.sql.ticks import SqlTicks
from natsume.exceptions import BrokerError
from natsume.model.record import Settled
from natsume.model.subject import RECORDS
from natsume.restoring.last_ticks import last_ticks
from natsume.restoring.startup import run_hooks
from natsume.runtime.finisher import Finisher
from natsume.runtime.rebuilding import Rebuilding
from natsume.runtime.resender import Resender
from natsume.runtime.restorer import Restorer
from natsume.service.replaying import DeadLetters
from natsume.settings import Settings

_STREAM_NOT_FOUND = 10059


def restorer_of(broker: Broker, engine: AsyncEngine, settings: Settings, registry: Registry) -> Restorer:
    """A restorer of this broker from this ledger."""
    remains = SqlRemains(engine)

    def rebuilding() -> Rebuilding:
        ports = (broker.outgoing, broker.records, broker.joins, broker.claims, broker.flags)
        return Rebuilding(remains, *ports, lambda name: _is_eligible(registry, name), broker.now)

    async def meet() -> str:
        """An emptied broker gets its streams again; of another one all that is known anew."""
        try:
            found = await broker.stream_info(RECORDS)
        except BrokerError as error:
            if error.code != _STREAM_NOT_FOUND:
                raise
        else:
            if str(found["created"]) == broker.records_created:
                return broker.records_created
        await ensure(broker.request, ack_wait_s=settings.ack_wait_s)
        await broker.refresh()
        return broker.records_created

    return Restorer(
        SqlEpochs(engine),
        KvKept(broker.publisher, broker.config_reader),
        rebuilding,
        meet,
        lambda: run_hooks(settings.prefixes),
        lambda kept: last_ticks(SqlTicks(engine), registry, settings.schedules_off or (), kept, broker.now()),
        broker.now,
        f"{settings.worker} {os.urandom(4).hex()}",
    )


def resender_of(broker: Broker, engine: AsyncEngine) -> Resender:
    """A resender of what this ledger knows to have been submitted, and no more."""
    return Resender(SqlRemains(engine), broker.outgoing, broker.now)


def finisher_of(broker: Broker, engine: AsyncEngine, registry: Registry) -> Finisher:
    """A finisher of the replays that were begun on this broker."""
    letters = DeadLetters(broker.letters, broker.inquiries, broker.outgoing, lambda: registry, broker.now)

    async def finish(settled: Settled, revision: int, ended: bool) -> None:
        await letters.finish(settled, revision, ended=ended)

    return Finisher(broker.letters, finish, SqlReading(engine), lambda: broker.records_created, broker.now)


def _is_eligible(registry: Registry, name: str) -> bool:
    actor = registry.get(name)
    return actor is not None and actor.dlq_eligible
