"""The relay: publishes what was committed into an outbox, each task once, and forgets it when the ledger knows it.

Any number may run. A row is claimed for some seconds, published, and marked with the broker that has it; whoever dies
in between leaves it to another, who sends it as resent. It is deleted only when the ledger has its record: until
then a broker that is lost gets it again.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from natsume.core.reaction import Due
from natsume.ending import end
from natsume.exceptions import BrokerError
from natsume.model import limits, status, times
from natsume.model.record import Place
from natsume.outbox import table
from natsume.service.sending import Parcel, Sending

if TYPE_CHECKING:
    from natsume.client import Client

_log = logging.getLogger(__name__)

_LOOK_FIRST_S: Final = 0.05
_LOOK_LAST_S: Final = 2.0
_FORGET_S: Final = 1.0
_NEW: Final = ""
_UNREADABLE: Final = (LookupError, ValueError, msgspec.MsgspecError)

Row = Any


class Relay:
    """Looks into one database, at each nudge and now and then, until it is cancelled."""

    def __init__(self, engine: AsyncEngine, sending: Sending) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._sending = sending
        self._nudged = asyncio.Event()
        self._forgotten_at = 0.0
        self._kept = True
        self._met = ""

    async def run(self) -> None:
        """Relay for ever; what goes wrong is told once and tried again."""
        pause_s, told = _LOOK_FIRST_S, ""
        with self._sending.nudged(self._nudged):
            while True:
                self._nudged.clear()
                try:
                    pause_s = _LOOK_FIRST_S if await self.once() else min(2 * pause_s, _LOOK_LAST_S)
                    if told:
                        _log.warning("the relay goes on")
                    told = ""
                except (BrokerError, SQLAlchemyError, OSError) as error:
                    line = " ".join(str(getattr(error, "orig", None) or error).split())
                    if told != line:
                        _log.warning("what is in the outbox waits: %s", line)
                    told, pause_s = line, min(2 * pause_s, _LOOK_LAST_S)
                try:
                    async with asyncio.timeout(pause_s):
                        await self._nudged.wait()
                except TimeoutError:
                    continue

    async def once(self) -> int:
        """Publish what there is, and forget what is safe; how many were published."""
        broker, count = await self._sending.broker(), 0
        # What another one had is to be sent again, for the ledger may not know it; after all that it knows is there.
        if broker != self._met and await self._sending.restored():
            while rows := await self._claim(table.c.broker.not_in([_NEW, broker])):
                count += await self._relay(rows, broker)
            self._met = broker
        while rows := await self._claim(table.c.broker == _NEW):
            count += await self._relay(rows, broker)
        self._kept = self._kept or count > 0
        if self._kept and time.monotonic() - self._forgotten_at > _FORGET_S:
            await self._forget(broker)
        return count

    async def _relay(self, rows: Sequence[Row], broker: str) -> int:
        try:
            await self._sending.send([_parcel(row) for row in rows])
        except (BrokerError, *_UNREADABLE) as error:
            if isinstance(error, BrokerError) and error.is_transient:
                await self._release(rows)
                raise
            if len(rows) > 1:
                return sum([await self._relay([row], broker) for row in rows])
            _log.error("row %d of the outbox is not published: %s", rows[0].number, error)
            return 0
        # All that they wrote lies before this; if the broker is another by now, they are sent again.
        sequence = await self._sending.end()
        sent = {"broker": broker, "sequence": sequence, "claimed_until": None}
        async with self._transaction() as connection:
            await connection.execute(_of(rows).values(sent))
        return len(rows)

    async def _claim(self, wanted: Any) -> Sequence[Row]:
        """Some rows that nobody else has; on repetition they are known by their tries."""
        now = time.time() if self._is_sqlite else func.unix_timestamp(func.now(6))
        free = (table.c.claimed_until.is_(None)) | (table.c.claimed_until < now)
        picked = select(table.c.number).where(wanted, free).order_by(table.c.number).limit(limits.RELAY_BATCH)
        claim = update(table).values(tries=table.c.tries + 1, claimed_until=now + times.RELAY_CLAIM_S)
        if self._is_sqlite:
            return await self._claim_in_sqlite(picked, claim)
        async with self._transaction() as connection:
            numbers = list((await connection.execute(picked.with_for_update(skip_locked=True))).scalars())
            if not numbers:
                return []
            await connection.execute(claim.where(table.c.number.in_(numbers)))
            rows = select(table).where(table.c.number.in_(numbers)).order_by(table.c.number)
            return (await connection.execute(rows)).all()

    async def _claim_in_sqlite(self, picked: Any, claim: Any) -> Sequence[Row]:
        async with self._engine.connect() as connection:  # where there is nothing, no writer is waited for
            if (await connection.execute(picked)).first() is None:
                return []
        async with self._transaction() as connection:
            # One statement, so that it waits for other writers and is not refused by them.
            found = await connection.execute(claim.where(table.c.number.in_(picked)).returning(table))
            return sorted(found.all(), key=lambda row: row.number)

    async def _release(self, rows: Sequence[Row]) -> None:
        async with self._transaction() as connection:
            await connection.execute(_of(rows).values(claimed_until=None))

    async def _forget(self, broker: str) -> None:
        settled = await self._sending.settled()
        here = table.c.broker == broker
        oldest = select(func.min(table.c.sequence)).where(here)
        async with self._engine.connect() as connection:
            found = (await connection.execute(oldest)).scalar()
        if found is not None and found <= settled:
            async with self._transaction() as connection:
                await connection.execute(delete(table).where(here, table.c.sequence <= settled))
        self._kept, self._forgotten_at = found is not None, time.monotonic()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            if not self._is_sqlite:
                # Gaps between rows are not to be locked: services write there.
                await connection.execution_options(isolation_level="READ COMMITTED")
            async with connection.begin():
                yield connection


def _of(rows: Sequence[Row]) -> Any:
    return update(table).where(table.c.number.in_([row.number for row in rows]))


def _parcel(row: Row) -> Parcel:
    task = status.message(row.id, row.subject, row.headers, bytes(row.body))
    place = None if row.place is None else msgspec.json.decode(row.place, type=Place)
    return Parcel(Due(task, row.due, place), row.submitted_at, resent=row.tries > 1 or row.broker != _NEW)


@asynccontextmanager
async def relaying(engine: AsyncEngine, client: "Client") -> AsyncIterator[None]:
    """Publish what is committed into this database's outbox, for as long as the block runs; any number may."""
    relay = asyncio.create_task(Relay(engine, client.sending).run())
    try:
        yield
    finally:
        await end(relay)
        with suppress(asyncio.CancelledError, SQLAlchemyError):
            relay.result()
