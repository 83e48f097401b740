"""The ledger, read: one task with its history, or a page of those that a filter describes, newest first.

For every state, and every value of the filter's most telling field, the newest lie together in an index. So each of
these is asked for one page by itself, and the pages are merged: the database reads little that it does not show.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any, Final

from msgspec.structs import replace
from sqlalchemy import Column, ColumnElement, Select, and_, false, func, insert, or_, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.expression import ColumnCollection

from natsume.adapters.sql.engine import transaction
from natsume.adapters.sql.labelled import few_labelled, labelled
from natsume.adapters.sql.schema import attempts, comments, tasks
from natsume.core.rights import OPERATOR, Who
from natsume.core.said import fitted
from natsume.exceptions import LedgerError
from natsume.model.ledger import Account, Attempt, Comment, Filter, Place, Row
from natsume.model.task import State

_LONG: Final = frozenset({"arguments", "result", "subject", "headers", "body", "error_message", "settled_why"})
_LISTED: Final = tuple(tasks.c[name] for name in Row.__struct_fields__ if name not in _LONG)
_COLUMNS: Final = {
    "ids": "id",
    "joins": "join_id",
    "parents": "parent",
    "roots": "root",
    "reasons": "reason",
    "owners": "owner",
    "tenants": "tenant",
    "workers": "worker",
    "actors": "actor",
}
"""What a field of the filter is compared with; all but `reasons` have an index, the most telling come first."""
_ASCII: Final = ("ids", "joins", "parents", "roots", "reasons")
"""Fields whose columns hold nothing else; a database may refuse to compare them with other text."""
_WILD: Final = frozenset({"ids", "actors", "owners", "workers"})
_NAMES: Final = ("owners", "workers", "actors")
_NAMES_MAX: Final = 5000
_BRANCHES_MAX: Final = 64
Columns = ColumnCollection[str, Any]


class SqlReading:
    """Questions to the ledger; made over an engine that it closes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def get(self, task_id: str, who: Who = OPERATOR) -> Account | None:
        """All that is known of a task, or None; for a task that they may not see, as if there were none."""
        theirs = (tasks.c.id == task_id, *_seen_by(who))
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
            for field in _NAMES if who.operator else ("actors",):
                values = getattr(wanted, field) or ()
                if any("*" in value for value in values):
                    names = await _names(connection, tasks.c[_COLUMNS[field]], values)
                    if names == ():
                        return []
                    wanted = replace(wanted, **{field: names or values})
            few = await few_labelled(connection, wanted.labels) if wanted.labels else None
            statement = page(wanted, count, after, who) if few is None else page_of(few, wanted, count, after, who)
            return [_row(found) for found in (await connection.execute(statement)).mappings()]

    async def consume(self, row: Row) -> None:
        """Keep that the owner of a task has seen its end; `row` is for a task whose records are not projected yet."""
        mark = update(tasks).where(tasks.c.id == row.id).values(consumed=True)
        async with transaction(self.engine) as connection:
            if (await connection.execute(mark)).rowcount:
                return
        values = {name: getattr(row, name) for name in ("id", "step", "state", "actor", "owner", "tenant")}
        times = {name: _moment(getattr(row, name)) for name in ("enqueued_at", "heartbeat_at")}
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


def page(wanted: Filter, count: int, after: Place | None, who: Who = OPERATOR) -> Select[Any]:
    """The statement of one page: found by its keys in the indexes alone where that is possible, then read."""
    driver = next((field for field in _COLUMNS if _is_exact(field, getattr(wanted, field))), None)
    states = tuple(State) if wanted.states is None else wanted.states
    values = getattr(wanted, driver) if driver else (None,)
    scopes = _scopes(who)
    if len(states) * len(values) * len(scopes) > _BRANCHES_MAX:
        driver, values = None, (None,)
    if len(states) * len(scopes) > _BRANCHES_MAX:
        scopes = [list(_seen_by(who))]
    rest = list(_meant(wanted, driver, after, tasks.c))
    branches = [
        _newest(
            [
                tasks.c.state == state,
                *([] if driver is None else [tasks.c[_COLUMNS[driver]] == fitted(value)]),
                *scope,
                *rest,
            ],
            count,
        )
        for state, value, scope in product(states, values, scopes)
    ]
    if not branches:
        return select(*_LISTED).where(false())
    merged = union_all(*(select(branch.subquery()) for branch in branches)).subquery()
    newest = select(merged).order_by(merged.c.enqueued_at.desc(), merged.c.id.desc()).limit(count).subquery()
    ordered = select(*_LISTED).join(newest, tasks.c.id == newest.c.id)
    return ordered.order_by(newest.c.enqueued_at.desc(), newest.c.id.desc())


def _seen_by(who: Who, columns: Columns = tasks.c) -> Iterator[ColumnElement[bool]]:
    """The tasks that somebody may see; for an operator nothing to say."""
    if not who.operator:
        owned = [columns.owner == fitted(who.user)] if who.user else []
        yield or_(false(), *owned, columns.tenant.in_([fitted(one) for one in who.tenants if one]))


def _scopes(who: Who) -> list[list[ColumnElement[bool]]]:
    """The same in parts of which no two have a task in common, each with an index of its own."""
    if who.operator:
        return [[]]
    owned = [tasks.c.owner == fitted(who.user)] if who.user else []
    # In a form that no index serves: it is true of most tasks, and a database would count them through.
    others = [func.coalesce(tasks.c.owner, "") != fitted(who.user)] if who.user else []
    shared = dict.fromkeys(fitted(one) for one in who.tenants if one)
    return [*([owned] if owned else []), *([tasks.c.tenant == tenant, *others] for tenant in shared)]


def _newest(conditions: list[ColumnElement[bool]], count: int) -> Select[Any]:
    newest = (tasks.c.enqueued_at.desc(), tasks.c.id.desc())
    return select(tasks.c.id, tasks.c.enqueued_at).where(*conditions).order_by(*newest).limit(count)


def _is_exact(field: str, values: tuple[str, ...] | None) -> bool:
    return bool(values) and not (field in _WILD and any("*" in value for value in values or ()))


def page_of(few: list[str], wanted: Filter, count: int, after: Place | None, who: Who) -> Select[Any]:
    """The statement of a page of these tasks, which are read all, whatever indexes the filter offers besides."""
    read = select(*_LISTED).where(tasks.c.id.in_(few)).limit(len(few)).subquery()
    states = [] if wanted.states is None else [read.c.state.in_(wanted.states)]
    meant = select(read).where(*states, *_seen_by(who, read.c), *_meant(wanted, None, after, read.c))
    return meant.order_by(read.c.enqueued_at.desc(), read.c.id.desc()).limit(count)


def _meant(wanted: Filter, driver: str | None, after: Place | None, columns: Columns) -> Iterator[ColumnElement[bool]]:
    """All that a filter asks of a row, but for the states and the driver."""
    yield from _compared(wanted, driver, columns)
    yield from _times(wanted, columns)
    yield from _from(after, columns)
    if wanted.labels:
        yield from labelled(wanted.labels, columns.id)


def _compared(wanted: Filter, driver: str | None, columns: Columns) -> Iterator[ColumnElement[bool]]:
    for field, name in _COLUMNS.items():
        column, values = columns[name], getattr(wanted, field)
        if values is None or field == driver:
            continue
        if not values:
            yield column.is_(None)
        elif field not in _WILD:
            yield column.in_([fitted(value) for value in values])
        else:
            yield or_(*(_matches(column, value) for value in values))
    for flag in ("cancel_requested", "consumed"):
        if (value := getattr(wanted, flag)) is not None:
            # Not IS: of that MariaDB makes no use of an index.
            yield columns[flag] == value


def _times(wanted: Filter, columns: Columns) -> Iterator[ColumnElement[bool]]:
    for name in ("enqueued", "started", "finished", "heartbeat"):
        column = columns[f"{name}_at"]
        if (at := getattr(wanted, f"{name}_after")) is not None:
            yield column > _moment(at)
        if (at := getattr(wanted, f"{name}_before")) is not None:
            yield column < _moment(at)
            # Nothing happens to a task before it is enqueued: so the index that orders the page begins there.
            yield columns.enqueued_at < _moment(at)


def _from(after: Place | None, columns: Columns) -> Iterator[ColumnElement[bool]]:
    if after is not None:
        at = _moment(after.enqueued_at)
        earlier = columns.enqueued_at < at
        yield columns.enqueued_at <= at
        yield or_(earlier, and_(columns.enqueued_at == at, columns.id < after.id))


def _matches(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    if "*" not in value:
        return column == fitted(value)
    for special in "!%_":
        value = value.replace(special, f"!{special}")
    return column.like(value.replace("*", "%"), escape="!")


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _row(found: Any) -> Row:
    values = _plain(found)
    return Row(**values | {"state": State(values["state"])})


def _plain(found: Any) -> dict[str, Any]:
    return {name: value.timestamp() if isinstance(value, datetime) else value for name, value in found.items()}
