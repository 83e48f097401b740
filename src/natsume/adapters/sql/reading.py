"""The ledger, read: one task with its history, or a page of those that a filter describes, newest first."""

import re
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace
from sqlalchemy import Column, Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from natsume.adapters.sql.allocated import allocated, has_outbox
from natsume.adapters.sql.engine import transaction
from natsume.adapters.sql.few import few_of, lead_of
from natsume.adapters.sql.meant import COLUMNS, moment, seen_by
from natsume.adapters.sql.paging import page, page_of
from natsume.adapters.sql.schema import attempts, comments, tasks
from natsume.core.rights import OPERATOR, Act, Who, may
from natsume.core.said import fitted
from natsume.core.traits import traits
from natsume.exceptions import LedgerError
from natsume.model.ledger import Account, Attempt, Comment, Filter, Place, Row
from natsume.model.task import State

_ASCII: Final = ("ids", "joins", "parents", "roots", "reasons")
"""Fields whose columns hold nothing else; a database may refuse to compare them with other text."""
_NAMES: Final = ("owners", "workers", "actors")
_NAMES_MAX: Final = 5000
_TASKS: Final = dict(tasks.c.items())


class SqlReading:
    """Questions to the ledger; made over an engine that it closes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def get(self, task_id: str, who: Who = OPERATOR) -> Account | None:
        """All that is known of a task, or None; for a task that they may not see, as if there were none.

        What only an outbox in this database knows is ALLOCATED.
        """
        account = await self._account(task_id, who)
        if account is not None or not await has_outbox(self.engine):
            return account
        row = await allocated(self.engine, task_id)
        if row is not None and may(who, Act.SEE, row.owner, row.tenant):
            return Account(row, ())
        # Between the two questions it may have been published, projected and forgotten by its relay. Asked in any
        # case: the same statements for each token.
        return await self._account(task_id, who)

    async def _account(self, task_id: str, who: Who) -> Account | None:
        theirs = (tasks.c.id == task_id, *seen_by(who, _TASKS))
        row_of = select(*(tasks.c[name] for name in Row.__struct_fields__)).where(*theirs)
        columns = [attempts.c[name] for name in Attempt.__struct_fields__]
        history = select(*columns).join(tasks, tasks.c.id == attempts.c.task_id).where(*theirs)
        columns = [comments.c[name] for name in Comment.__struct_fields__]
        remarks = select(*columns).join(tasks, tasks.c.id == comments.c.task_id).where(*theirs)
        async with transaction(self.engine) as connection:
            found = (await connection.execute(row_of)).mappings().first()
            # Asked also where nothing was found: the same statements for each token.
            failed = (await connection.execute(history.order_by(attempts.c.attempt))).mappings().all()
            said = (await connection.execute(remarks.order_by(comments.c.at))).mappings().all()
        if found is None:
            return None
        return Account(
            _row(found),
            tuple(Attempt(**_plain(one)) for one in failed),
            tuple(Comment(**_plain(one)) for one in said),
        )

    async def find(self, wanted: Filter, count: int, after: Place | None = None, who: Who = OPERATOR) -> list[Row]:
        """At most `count` of the tasks that they may see, newest first, from after a place on; without long texts."""
        for field in _ASCII:
            values = getattr(wanted, field)
            possible = tuple(value for value in values or () if value.isascii())
            if values and not possible:
                return []
            wanted = replace(wanted, **{field: possible}) if values else wanted
        async with transaction(self.engine) as connection:
            # Who there is, is for operators to know: others' own tasks are looked at one by one.
            for field in _NAMES if who.operator else ("workers", "actors"):
                values = getattr(wanted, field) or ()
                if any("*" in value for value in values):
                    names = await _names(connection, tasks.c[COLUMNS[field]], values)
                    if names == ():
                        return []
                    wanted = replace(wanted, **{field: names or values})
            few = await few_of(connection, wanted)
            if few is None:
                statement = page(wanted, count, after, who, await lead_of(connection, wanted, who))
            else:
                statement = page_of(few, wanted, count, after, who)
            return [_row(found) for found in (await connection.execute(statement)).mappings()]

    async def consume(self, row: Row) -> None:
        """Keep that the owner of a task has seen its end; `row` is for a task whose records are not projected yet."""
        mark = update(tasks).where(tasks.c.id == row.id).values(consumed=True)
        async with transaction(self.engine) as connection:
            if (await connection.execute(mark)).rowcount:
                return
        values = {name: getattr(row, name) for name in ("id", "step", "state", "actor", "owner", "tenant")}
        values["traits"] = traits(values)
        times = {name: moment(getattr(row, name)) for name in ("enqueued_at", "heartbeat_at")}
        try:
            async with transaction(self.engine) as connection:
                await connection.execute(insert(tasks).values(**values, **times, consumed=True))
        except LedgerError:  # its records may just have been projected
            async with transaction(self.engine) as connection:
                if not (await connection.execute(mark)).rowcount:
                    raise

    async def close(self) -> None:
        """Disconnect."""
        await self.engine.dispose()


async def _names(connection: AsyncConnection, column: Column[Any], patterns: tuple[str, ...]) -> tuple[str, ...] | None:
    """The names that there are of these patterns; None if there are so many that some soon come up by themselves."""
    all_of = (
        _each(column) if connection.dialect.name == "sqlite" else select(column).where(column.is_not(None)).distinct()
    )
    all_of = all_of.limit(_NAMES_MAX + 1)
    found = list((await connection.execute(all_of)).scalars())
    if len(found) > _NAMES_MAX:
        return None
    return tuple(name for name in found if any(_fits(name, pattern) for pattern in patterns))


def _each(column: Column[Any]) -> Select[Any]:
    """All names, each looked up from the one before it, which MySQL does by itself: tasks of one name cost nothing."""
    step = select(func.min(column).label("name")).where(column.is_not(None)).cte("names", recursive=True)
    following = select(func.min(column)).where(column > step.c.name).scalar_subquery()
    names = step.union_all(select(following).where(step.c.name.is_not(None)))
    return select(names.c.name).where(names.c.name.is_not(None))


def _fits(name: str, pattern: str) -> bool:
    parts = map(re.escape, (pattern if "*" in pattern else fitted(pattern)).split("*"))
    return re.fullmatch(".*".join(parts), name, re.DOTALL) is not None


def _row(found: Any) -> Row:
    values = _plain(found)
    return Row(**values | {"state": State(values["state"])})


def _plain(found: Any) -> dict[str, Any]:
    return {name: value.timestamp() if isinstance(value, datetime) else value for name, value in found.items()}
