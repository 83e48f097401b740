"""What the ledger knows of a broker that was lost (ports Epochs, Remains and Silence)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, and_, delete, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from natsume.adapters.sql.callbacks import over, readers_of
from natsume.adapters.sql.engine import transaction
from natsume.adapters.sql.ledger import next_epoch
from natsume.adapters.sql.migrating import require
from natsume.adapters.sql.schema import attempts, configuration, epochs, joins, tasks
from natsume.core.join import Join
from natsume.core.restoring import as_known
from natsume.exceptions import LedgerError
from natsume.model import limits, times
from natsume.model.ledger import Epoch, Remnant, Row
from natsume.model.task import ENDED, Reason, State

_UNFINISHED: Final = tuple(state for state in State if state not in ENDED)
_COLUMNS: Final = (*(tasks.c[name] for name in Row.__struct_fields__), attempts.c.traceback)
# A failure with a successor is not the one that the task ended of: it may have expired while it waited for that.
_LAST: Final = and_(attempts.c.attempt == tasks.c.attempts, attempts.c.next_at.is_(None), tasks.c.error.is_not(None))
_FROM: Final = tasks.outerjoin(attempts, and_(attempts.c.task_id == tasks.c.id, _LAST))
_JOINS_PAGE: Final = 50


class SqlEpochs:
    """The brokers that were followed; made over an engine that somebody else closes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def meet(self, broker: str) -> Epoch:
        """The epoch of this broker: a new one, unless it is the one that was met last.

        The first of all has nothing to be restored from. One that comes back after another gets a new number too:
        what the other did in the meantime it does not know.
        """
        await require(self._engine)
        try:
            return await self._meet(broker)
        except LedgerError:  # most likely another was faster to enter it
            return await self._meet(broker)

    async def _meet(self, broker: str) -> Epoch:
        known = select(epochs.c.number, epochs.c.broker, epochs.c.restored_at).order_by(epochs.c.number.desc())
        this = epochs.c.broker == broker
        async with transaction(self._engine) as connection:
            found = (await connection.execute(known)).all()
            if not any(row.broker == broker for row in found):
                columns = ["number", "broker", "began_at"]
                await connection.execute(insert(epochs).from_select(columns, next_epoch(broker)))
            elif found[0].broker != broker:
                again = {"number": found[0].number + 1, "restored_at": None, "claimed_by": None, "claimed_until": None}
                await connection.execute(update(epochs).where(this).values(again))
            elif found[0].restored_at is not None:
                return Epoch(found[0].number, restored=True)
            first = not any(row.broker != broker for row in found)
            if first:
                await connection.execute(update(epochs).where(this).values(restored_at=datetime.now(UTC)))
            number = (await connection.execute(select(epochs.c.number).where(this))).scalar_one()
        return Epoch(number, restored=first)

    async def claim(self, number: int, who: str, now: float) -> bool:
        """Be the one who restores it for a while, again or unless another is."""
        free = or_(epochs.c.claimed_until.is_(None), epochs.c.claimed_until < now, epochs.c.claimed_by == who)
        this = and_(epochs.c.number == number, epochs.c.restored_at.is_(None), free)
        until = now + times.RESTORE_CLAIM_S
        async with transaction(self._engine) as connection:
            taken = await connection.execute(update(epochs).where(this).values(claimed_by=who, claimed_until=until))
            return taken.rowcount == 1

    async def finish(self, number: int) -> None:
        """Say that it is restored."""
        async with transaction(self._engine) as connection:
            done = update(epochs).where(epochs.c.number == number, epochs.c.restored_at.is_(None))
            await connection.execute(done.values(restored_at=datetime.now(UTC)))

    async def renounce(self, broker: str) -> None:
        """Know this broker no more, so that whatever is found under its name is rebuilt."""
        this = epochs.c.broker == broker
        async with transaction(self._engine) as connection:
            number = (await connection.execute(select(epochs.c.number).where(this))).scalar()
            if number is not None:
                gone = f"{broker[:48]} until {number}"
                await connection.execute(update(epochs).where(this).values(broker=gone))

    async def configuration(self) -> dict[str, bytes]:
        """What was kept of the bucket `config`, by key."""
        async with transaction(self._engine) as connection:
            found = await connection.execute(select(configuration.c.name, configuration.c.value))
            return {row.name: bytes(row.value) for row in found}

    async def configure(self, values: Mapping[str, bytes]) -> None:
        """Keep this, and nothing else."""
        async with transaction(self._engine) as connection:
            await connection.execute(delete(configuration))
            if values:
                rows = [{"name": name, "value": value} for name, value in sorted(values.items())]
                await connection.execute(insert(configuration), rows)


class SqlRemains:
    """Reads page by page, by indexes, oldest first; what is written meanwhile is seen or not."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def joins(self, epoch: int) -> AsyncIterator[list[Join]]:
        """The joins that count or are read yet: by callbacks that have not ended, or are dead and may be replayed."""
        after = ""
        while True:
            here = select(joins.c.id, joins.c.definition).where(joins.c.id > after, joins.c.epoch < epoch)
            async with transaction(self._engine) as connection:
                found = (await connection.execute(here.order_by(joins.c.id).limit(_JOINS_PAGE))).all()
                page = [msgspec.json.decode(row.definition, type=Join) for row in found]
                asked = [one.id for join in page for one in (join.callback, join.on_failure) if one is not None]
                states = select(tasks.c.id, tasks.c.state).where(tasks.c.id.in_(asked))
                known = {row.id: State(row.state) for row in await connection.execute(states)}
                called = await over(connection, known)
            if not found:
                return
            after = found[-1].id
            if wanted := [join for join in (as_known(one, known) for one in page) if not readers_of(join) <= called]:
                yield wanted

    async def members(self, join_ids: Sequence[str]) -> AsyncIterator[list[Remnant]]:
        """All tasks whose ends count for these joins."""
        after = ""
        while True:
            found = await self._read([tasks.c.join_id.in_(join_ids), tasks.c.id > after], tasks.c.id)
            if found:
                yield found
                after = found[-1].row.id
            if len(found) < limits.RESTORE_PAGE:
                return

    async def ended(self, epoch: int, since: float) -> AsyncIterator[list[Remnant]]:
        """Dead letters that nobody settled, and tracked tasks that ended since then."""
        for reason in Reason:
            letters = [tasks.c.reason == reason, tasks.c.settled.is_(None), tasks.c.epoch < epoch]
            async for page in self._pages(letters, "enqueued_at"):
                yield page
        for state in sorted(ENDED):
            recent = [tasks.c.state == state, tasks.c.tracked.is_(True), tasks.c.epoch < epoch]
            recent.append(tasks.c.finished_at >= datetime.fromtimestamp(since, UTC))
            async for page in self._pages(recent, "finished_at"):
                yield page

    async def unfinished(self, epoch: int) -> AsyncIterator[list[Remnant]]:
        """Tasks that have not ended, oldest first."""
        for state in _UNFINISHED:
            async for page in self._pages([tasks.c.state == state, tasks.c.epoch < epoch], "enqueued_at"):
                yield page

    async def silent(self, before: float, count: int) -> list[Row]:
        """At most `count` that were submitted before this time, and not sent again since."""
        at = literal(datetime.fromtimestamp(before, UTC), tasks.c.enqueued_at.type)
        here = [tasks.c.subject.is_not(None), tasks.c.resent_at.is_(None), tasks.c.enqueued_at < at]
        nothing_else = [tasks.c.attempts == 0, tasks.c.failures == 0, tasks.c.tracked.is_(True)]
        for state in (State.ENQUEUED, State.WAITING):
            found = await self._read([tasks.c.state == state, *here, *nothing_else], tasks.c.enqueued_at, count=count)
            if found:
                return [one.row for one in found]
        return []

    async def resent(self, task_ids: Sequence[str]) -> None:
        """Say that these were sent again."""
        async with transaction(self._engine) as connection:
            sent = update(tasks).where(tasks.c.id.in_(task_ids)).values(resent_at=datetime.now(UTC))
            await connection.execute(sent)

    async def _pages(self, wanted: list[ColumnElement[bool]], by: str) -> AsyncIterator[list[Remnant]]:
        """In the order of a time and the id, each page from where the last one ended."""
        column, farther = tasks.c[by], list[ColumnElement[bool]]()
        while True:
            found = await self._read([*wanted, *farther], column, tasks.c.id)
            if found:
                yield found
                last = found[-1].row
                at = literal(datetime.fromtimestamp(getattr(last, by), UTC), column.type)
                farther = [column >= at, or_(column > at, tasks.c.id > last.id)]
            if len(found) < limits.RESTORE_PAGE:
                return

    async def _read(self, wanted: list[ColumnElement[bool]], *order: Any, count: int | None = None) -> list[Remnant]:
        statement = (
            select(*_COLUMNS).select_from(_FROM).where(*wanted).order_by(*order).limit(count or limits.RESTORE_PAGE)
        )
        async with transaction(self._engine) as connection:
            return [_remnant(dict(row)) for row in (await connection.execute(statement)).mappings()]


def _remnant(found: dict[str, Any]) -> Remnant:
    traceback = found.pop("traceback") or ""
    values: dict[str, Any] = {
        name: value.timestamp() if isinstance(value, datetime) else value for name, value in found.items()
    }
    return Remnant(Row(**values | {"state": State(values["state"])}), traceback)
