"""The ledger, read: one task with its history, or a page of those that a filter describes, newest first.

For every state, and every value of the filter's most telling field, the newest lie together in an index. So each of these
is asked for one page by itself, and the pages are merged: the database reads little that it does not show.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, false, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncEngine

from natsume.adapters.sql.engine import transaction
from natsume.adapters.sql.schema import attempts, tasks
from natsume.core.projection import fitted
from natsume.model.ledger import Account, Attempt, Filter, Place, Row
from natsume.model.task import State

_LONG: Final = frozenset({"arguments", "result", "subject", "headers", "body", "error_message", "settled_why"})
_LISTED: Final = tuple(tasks.c[name] for name in Row.__struct_fields__ if name not in _LONG)
_COLUMNS: Final = {
    "ids": tasks.c.id,
    "joins": tasks.c.join_id,
    "parents": tasks.c.parent,
    "roots": tasks.c.root,
    "reasons": tasks.c.reason,
    "owners": tasks.c.owner,
    "tenants": tasks.c.tenant,
    "workers": tasks.c.worker,
    "actors": tasks.c.actor,
}
"""What a field of the filter is compared with; all but `reasons` have an index, the most telling come first."""
_WILD: Final = frozenset({"ids", "actors", "owners", "workers"})
_BRANCHES_MAX: Final = 64


class SqlReading:
    """Questions to the ledger; made over an engine that somebody else closes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def get(self, task_id: str) -> Account | None:
        """All that is known of a task, or None."""
        row_of = select(*(tasks.c[name] for name in Row.__struct_fields__)).where(tasks.c.id == task_id)
        columns = [attempts.c[name] for name in Attempt.__struct_fields__]
        history = select(*columns).where(attempts.c.task_id == task_id).order_by(attempts.c.attempt)
        async with transaction(self._engine) as connection:
            found = (await connection.execute(row_of)).mappings().first()
            if found is None:
                return None
            failed = (await connection.execute(history)).mappings().all()
        return Account(_row(found), tuple(Attempt(**_plain(one)) for one in failed))

    async def find(self, wanted: Filter, count: int, after: Place | None = None) -> list[Row]:
        """At most `count` tasks, newest first, from after a place on; without their long texts."""
        async with transaction(self._engine) as connection:
            return [_row(found) for found in (await connection.execute(page(wanted, count, after))).mappings()]


def page(wanted: Filter, count: int, after: Place | None) -> Select[Any]:
    """The statement of one page."""
    driver = next((field for field in _COLUMNS if _is_exact(field, getattr(wanted, field))), None)
    states = tuple(State) if wanted.states is None else wanted.states
    values = getattr(wanted, driver) if driver else (None,)
    if len(states) * len(values) > _BRANCHES_MAX:
        driver, values = None, (None,)
    rest = [*_compared(wanted, driver), *_times(wanted), *_from(after)]
    branches = [
        _newest([tasks.c.state == state, *([] if driver is None else [_COLUMNS[driver] == _kept(value)]), *rest], count)
        for state, value in product(states, values)
    ]
    if not branches:
        return select(*_LISTED).where(false())
    if len(branches) == 1:
        return branches[0]
    merged = union_all(*(select(branch.subquery()) for branch in branches)).subquery()
    return select(merged).order_by(merged.c.enqueued_at.desc(), merged.c.id.desc()).limit(count)


def _newest(conditions: list[ColumnElement[bool]], count: int) -> Select[Any]:
    newest = (tasks.c.enqueued_at.desc(), tasks.c.id.desc())
    return select(*_LISTED).where(*conditions).order_by(*newest).limit(count)


def _is_exact(field: str, values: tuple[str, ...] | None) -> bool:
    return bool(values) and not (field in _WILD and any("*" in value for value in values or ()))


def _compared(wanted: Filter, driver: str | None) -> Iterator[ColumnElement[bool]]:
    for field, column in _COLUMNS.items():
        values = getattr(wanted, field)
        if values is None or field == driver:
            continue
        if not values:
            yield column.is_(None)
        elif field not in _WILD:
            yield column.in_([_kept(value) for value in values])
        else:
            yield or_(
                *(column.like(_like(value), escape="!") if "*" in value else column == _kept(value) for value in values)
            )
    for flag in ("cancel_requested", "consumed"):
        if (value := getattr(wanted, flag)) is not None:
            yield tasks.c[flag].is_(value)


def _times(wanted: Filter) -> Iterator[ColumnElement[bool]]:
    for name in ("enqueued", "started", "finished", "heartbeat"):
        column = tasks.c[f"{name}_at"]
        if (at := getattr(wanted, f"{name}_after")) is not None:
            yield column > _moment(at)
        if (at := getattr(wanted, f"{name}_before")) is not None:
            yield column < _moment(at)


def _from(after: Place | None) -> Iterator[ColumnElement[bool]]:
    if after is not None:
        at = _moment(after.enqueued_at)
        yield tasks.c.enqueued_at <= at
        yield or_(tasks.c.enqueued_at < at, and_(tasks.c.enqueued_at == at, tasks.c.id < after.id))


def _kept(value: str) -> str:
    """A value as the ledger keeps it."""
    return fitted(value)


def _like(value: str) -> str:
    for special in "!%_":
        value = value.replace(special, f"!{special}")
    return value.replace("*", "%")


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _row(found: Any) -> Row:
    values = _plain(found)
    return Row(**values | {"state": State(values["state"])})


def _plain(found: Any) -> dict[str, Any]:
    return {name: value.timestamp() if isinstance(value, datetime) else value for name, value in found.items()}
