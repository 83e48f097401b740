"""The ledger, written: rows by upserts that only ever add to what is known (port Ledger)."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Table, case, delete, exists, func, literal, or_, select, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from natsume.adapters.sql.callbacks import SETTLED, over, readers_of
from natsume.adapters.sql.engine import transaction
from natsume.adapters.sql.migrating import require
from natsume.adapters.sql.schema import attempts, comments, epochs, joins, labels, tasks
from natsume.core.join import Join
from natsume.core.projection import Changes
from natsume.core.said import fitted
from natsume.core.traits import labelled, traits
from natsume.exceptions import LedgerError
from natsume.model.ledger import EARLIEST, LARGEST, LATEST, Attempt, Comment, Row
from natsume.model.record import child_id
from natsume.model.task import State

_MOMENTS: Final = frozenset(name for name in Row.__struct_fields__ if name.endswith("_at"))
_OF_A_TASK: Final = (
    (attempts, "task_id"),
    (comments, "task_id"),
    (labels, "task_id"),
    (joins, "callback"),
    (tasks, "id"),
)
_PLAIN: Final = tuple(name for name in Row.__struct_fields__ if name not in _MOMENTS)


class SqlLedger:
    """The ledger's tables, as the projector and the pruner need them; made over an engine that it closes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._rows = _merging(engine, tasks)
        self._attempts = _unless_there(engine, attempts)
        self._joins = _unless_there(engine, joins)
        self._comments = _unless_there(engine, comments)
        self._labels = _unless_there(engine, labels)
        self._epochs = _unless_there(engine, epochs)

    async def prepare(self) -> None:
        """Make sure that the schema is this version's."""
        await require(self._engine)

    async def project(self, changes: Changes, broker: str, sequence: int) -> None:
        """Commit changes, and that the broker's records were followed to here."""
        # In the order of the keys, so that conductors wait for each other and do not lock crosswise.
        rows = [_values(row) for row in sorted(changes.rows, key=lambda row: row.id)]
        failed = [_attempt(one) for one in sorted(changes.attempts, key=lambda one: (one.task_id, one.attempt))]
        said = [_comment(one) for one in sorted(changes.comments, key=lambda one: (one.task_id, one.key))]
        tagged = [one for row in rows for one in _labels(row["id"], row["labels"])]
        opened = [_join(one) for one in sorted(changes.joins, key=lambda one: one.id)]
        async with transaction(self._engine) as connection:
            epoch = await self._epoch(connection, broker)
            for statement, values in ((self._rows, rows), (self._joins, opened)):
                if values:
                    await connection.execute(statement, [one | {"epoch": epoch} for one in values])
            for statement, values in ((self._attempts, failed), (self._comments, said), (self._labels, tagged)):
                if values:
                    await connection.execute(statement, values)
            farther = update(epochs).where(epochs.c.broker == broker, epochs.c.sequence < sequence)
            await connection.execute(farther.values(sequence=sequence))

    async def ended(self, task_ids: Collection[str]) -> set[str]:
        """Those whose records the broker need not keep: ended, settled if dead, and read by no callback."""
        wanted = select(tasks.c.id, tasks.c.join_id).where(tasks.c.id.in_(task_ids), SETTLED)
        async with transaction(self._engine) as connection:
            ended = {row.id: row.join_id for row in await connection.execute(wanted)}
            # What the members of a join returned is read by its callback.
            named = {join for join in ended.values() if join is not None}
            asked = select(joins.c.id, joins.c.callback).where(joins.c.id.in_(named))
            callbacks = {join: child_id(join, "callback") for join in named}
            if named:
                callbacks |= {row.id: row.callback for row in await connection.execute(asked)}
            called = await over(connection, callbacks.values())
        return {task for task, join in ended.items() if join is None or callbacks[join] in called}

    async def done_with(self, joins: Collection[Join]) -> dict[str, bool]:
        """Of the joins that it knows anything of, by id: whether nobody needs them or their parents' records.

        Their callbacks have ended, in the latest replay, and their parents are read by no callback.
        """
        readers = {join.id: readers_of(join) for join in joins}
        parents = {join.parent for join in joins}
        async with transaction(self._engine) as connection:
            asked = select(tasks.c.id).where(tasks.c.id.in_(parents.union(*readers.values())))
            known = set((await connection.execute(asked)).scalars())
            called = await over(connection, set().union(*readers.values()))
        ended = await self.ended(parents & known)
        return {
            join.id: readers[join.id] <= called and (join.parent in ended or join.parent not in known)
            for join in joins
            if known & {join.parent, *readers[join.id]}
        }

    async def prune(self, state: State, before: float, count: int) -> int:
        """Remove at most `count` tasks that ended so before this time, with all that is kept of them; how many.

        The members of a join stay as long as the join does: that is until its callback goes, or, where no callback
        is known, until it is itself as old as the failed tasks that go.
        """
        counted = exists().where(joins.c.id == tasks.c.join_id)
        old = select(tasks.c.id).where(tasks.c.state == state, tasks.c.finished_at < _moment(before), ~counted)
        async with transaction(self._engine) as connection:
            if state is State.FAILED:
                called = exists().where(tasks.c.id == joins.c.callback)
                await connection.execute(delete(joins).where(joins.c.opened_at < _moment(before), ~called))
            ids = list((await connection.execute(old.limit(count))).scalars())
            if ids:
                for table, key in _OF_A_TASK:
                    await connection.execute(delete(table).where(table.c[key].in_(ids)))
        return len(ids)

    async def close(self) -> None:
        """Disconnect."""
        await self._engine.dispose()

    async def _epoch(self, connection: AsyncConnection, broker: str) -> int:
        """The number of a broker: 1 where the ledger knew none, for then nothing is to be restored into it.

        Raises LedgerError where the ledger knows others, and this one was not met yet.
        """
        numbers = await _numbers(connection)
        if not numbers:
            now = datetime.now(UTC)
            first = {"number": 1, "broker": broker, "began_at": now, "restored_at": now}
            await connection.execute(self._epochs, first)
            numbers = await _numbers(connection)
        if broker not in numbers:
            raise LedgerError("the broker is not the one that was followed last; it is to be compared with the ledger")
        return numbers[broker]


async def _numbers(connection: AsyncConnection) -> dict[str, int]:
    found = await connection.execute(select(epochs.c.broker, epochs.c.number))
    return {row.broker: row.number for row in found}


def next_epoch(broker: str) -> Any:
    """The row of a broker that is met first: `number`, `broker`, `began_at`."""
    began_at = literal(datetime.now(UTC), epochs.c.began_at.type)
    return select(func.coalesce(func.max(epochs.c.number), 0) + 1, literal(broker), began_at)


def _merging(engine: AsyncEngine, table: Table) -> Any:
    """The upsert that merges a row as `core.projection.merge` does."""
    statement: Any = (sqlite if engine.dialect.name == "sqlite" else mysql).insert(table)
    new = statement.excluded if engine.dialect.name == "sqlite" else statement.inserted
    old = table.c
    further = new.step > old.step
    merged = [
        *(
            (name, case((further, func.coalesce(new[name], old[name])), else_=func.coalesce(old[name], new[name])))
            for name in LATEST
        ),
        *((name, _chosen(old[name], new[name], new[name] < old[name])) for name in EARLIEST),
        *((name, _chosen(old[name], new[name], new[name] > old[name])) for name in (*LARGEST, "epoch")),
    ]
    merged += [(name, old[name].bitwise_or(new[name])) for name in ("traits", "label_traits")]
    # Last: MySQL assigns in order, and what follows would compare with the new step.
    merged.append(("step", case((further, new.step), else_=old.step)))
    if engine.dialect.name == "sqlite":
        return statement.on_conflict_do_update(index_elements=[old.id], set_=dict(merged))
    return statement.on_duplicate_key_update(merged)


def _chosen(old: Any, new: Any, better: Any) -> Any:
    """The new value where there is no old one, or a worse one; in SQL, nothing is better than NULL."""
    return case((or_(old.is_(None), better), new), else_=old)


def _unless_there(engine: AsyncEngine, table: Table) -> Any:
    if engine.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    # Not IGNORE, which would also let pass what does not fit.
    key = next(iter(table.primary_key))
    return mysql.insert(table).on_duplicate_key_update({key.name: key})


def _values(row: Row) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in _PLAIN}
    for name in _MOMENTS:
        at = getattr(row, name)
        values[name] = None if at is None else _moment(at)
    values["traits"] = traits(values)
    values["label_traits"] = 0
    for label in _labels(row.id, row.labels):
        values["label_traits"] |= labelled(label["name"], label["value"])
    return values


def _labels(task_id: str, text: str | None) -> list[dict[str, str]]:
    if not text:
        return []
    pairs = sorted(msgspec.json.decode(text, type=dict[str, str]).items())
    named = {fitted(name): fitted(value) for name, value in pairs}
    return [{"task_id": task_id, "name": name, "value": value} for name, value in named.items()]


def _attempt(one: Attempt) -> dict[str, Any]:
    return {
        "task_id": one.task_id,
        "attempt": one.attempt,
        "error": one.error,
        "message": one.message,
        "traceback": one.traceback,
        "worker": one.worker,
        "started_at": _moment(one.started_at),
        "failed_at": _moment(one.failed_at),
        "next_at": None if one.next_at is None else _moment(one.next_at),
    }


def _comment(one: Comment) -> dict[str, Any]:
    return {"task_id": one.task_id, "key": one.key, "at": _moment(one.at), "author": one.author, "text": one.text}


def _join(join: Join) -> dict[str, Any]:
    definition = msgspec.json.encode(join).decode()
    return {
        "id": join.id,
        "callback": join.callback.id,
        "opened_at": _moment(join.opened_at),
        "definition": definition,
    }


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
