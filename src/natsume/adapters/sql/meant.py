"""What a filter means: the conditions that it sets on the columns of a task."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, or_, select

from natsume.adapters.sql.schema import labels
from natsume.core.rights import Who
from natsume.core.said import fitted
from natsume.model.ledger import Filter, Place

COLUMNS: Final = {
    "ids": "id",
    "joins": "join_id",
    "parents": "parent",
    "roots": "root",
    "reasons": "reason",
    "owners": "owner",
    "workers": "worker",
    "actors": "actor",
    "tenants": "tenant",
}
"""What a field of the filter is compared with; the most telling come first."""
TIMES: Final = ("enqueued", "started", "finished", "heartbeat")
_WILD: Final = frozenset({"ids", "actors", "owners", "workers"})
Columns = Mapping[str, ColumnElement[Any]]


def is_exact(field: str, values: tuple[str, ...] | None) -> bool:
    """Whether a field is asked for by values, none of them a pattern."""
    return bool(values) and not (field in _WILD and any("*" in value for value in values or ()))


def has_pattern(wanted: Filter) -> bool:
    """Whether any field is compared with a pattern."""
    return any("*" in value for field in _WILD for value in getattr(wanted, field) or ())


def meant(wanted: Filter, after: Place | None, of: Columns) -> Iterator[ColumnElement[bool]]:
    """All that a filter asks, and from where on, but for the states."""
    yield from _compared(wanted, of)
    for name in TIMES:
        yield from within(wanted, name, of)
    yield from _from(after, of)
    for name, value in (wanted.labels or {}).items():
        # One value looked up for each row. Of EXISTS, MariaDB would make a table of all tasks that have the label.
        has = select(labels.c.value).where(labels.c.task_id == of["id"], labels.c.name == fitted(name))
        yield has.scalar_subquery() == fitted(value)


def seen_by(who: Who, of: Columns) -> Iterator[ColumnElement[bool]]:
    """The tasks that somebody may see; for an operator nothing to say."""
    if not who.operator:
        owned = [of["owner"] == fitted(who.user)] if who.user else []
        yield or_(*owned, of["tenant"].in_([fitted(one) for one in who.tenants if one]))


def within(wanted: Filter, name: str, of: Columns) -> Iterator[ColumnElement[bool]]:
    """The bounds of one of the times."""
    column = of[f"{name}_at"]
    if (at := getattr(wanted, f"{name}_after")) is not None:
        yield column > moment(at)
    if (at := getattr(wanted, f"{name}_before")) is not None:
        yield column < moment(at)
        # Nothing happens to a task before it is enqueued: so the index that orders the page begins there.
        yield of["enqueued_at"] < moment(at)


def moment(at: float) -> datetime:
    """A time as the database has it."""
    return datetime.fromtimestamp(at, UTC)


def _compared(wanted: Filter, of: Columns) -> Iterator[ColumnElement[bool]]:
    for field, name in COLUMNS.items():
        column, values = of[name], getattr(wanted, field)
        if values is None:
            continue
        if not values:
            yield column.is_(None)
        elif is_exact(field, values):
            yield column.in_([fitted(value) for value in values])
        else:
            yield or_(*(_matches(column, value) for value in values))
    for flag in ("cancel_requested", "consumed"):
        if (value := getattr(wanted, flag)) is not None:
            # Not IS: of that MariaDB makes no use of an index.
            yield of[flag] == value


def _from(after: Place | None, of: Columns) -> Iterator[ColumnElement[bool]]:
    if after is not None:
        at = moment(after.enqueued_at)
        earlier = of["enqueued_at"] < at
        yield of["enqueued_at"] <= at
        yield or_(earlier, and_(of["enqueued_at"] == at, of["id"] < after.id))


def _matches(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    if "*" not in value:
        return column == fitted(value)
    for special in "!%_":
        value = value.replace(special, f"!{special}")
    return column.like(value.replace("*", "%"), escape="!")
