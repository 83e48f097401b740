"""The statement of one page, newest first.

For every state, and every value of what tells most, the newest lie together in an index. So each of these is asked
for one page by itself, and the pages are merged: the database reads little that it does not show. What else is asked
for is ruled out by the traits in the same index (`core.traits`) where it is not there; only what is left is read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from sqlalchemy import ColumnElement, FromClause, Join, Select, false, func, or_, select, union_all
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from natsume.adapters.sql.meant import COLUMNS, Columns, has_pattern, is_exact, meant, seen_by
from natsume.adapters.sql.schema import tasks
from natsume.core.rights import OPERATOR, Who
from natsume.core.said import fitted
from natsume.core.traits import labelled, present, trait
from natsume.model.ledger import Filter, Place, Row
from natsume.model.task import State

_LONG: Final = frozenset({"arguments", "result", "subject", "headers", "body", "error_message", "settled_why"})
_LISTED: Final = tuple(tasks.c[name] for name in Row.__struct_fields__ if name not in _LONG)
_FLAGS: Final = ("cancel_requested", "consumed")
_TELLING: Final = ("id", *_FLAGS, *(name for name in COLUMNS.values() if name != "id"))
"""What may be asked for by value, the most telling first; each has an index of its own."""
_BRANCHES_MAX: Final = 64
_RULED_MAX: Final = 8

# Made once, for a table has many columns; each part of a statement has names of its own.
_FIRST: Final = tasks.alias("tasks_first")
_FIRST_HAS: Final = dict(_FIRST.c.items())
_ROW: Final = tasks.alias("tasks_row")
_ROW_HAS: Final = dict(_ROW.c.items())
Rest = Callable[[Columns], Iterable[ColumnElement[bool]]]


class Equal(msgspec.Struct, frozen=True):
    """One of these values in a column; `(None,)` for none at all."""

    name: str
    values: tuple[str | bool | None, ...]

    def holds(self, of: Columns) -> ColumnElement[bool]:
        """That a row has one of the values."""
        column = of[self.name]
        if len(self.values) > 1:
            return column.in_(self.values)
        return column.is_(None) if self.values[0] is None else column == self.values[0]


class _Scope(msgspec.Struct, frozen=True):
    """A part of what somebody may see: by a value, and by what else must hold."""

    equal: Equal | None
    rest: Rest
    ruled: Sequence[ColumnElement[bool]] = ()


class _InOrder(Join):
    """An inner join whose left side is read first, whatever the database expects of the other way round."""

    inherit_cache = True


@compiles(_InOrder)
def _straight(join: _InOrder, compiler: SQLCompiler, **given: Any) -> str:
    return _written(join, compiler, "STRAIGHT_JOIN", given)


@compiles(_InOrder, "sqlite")
def _crossed(join: _InOrder, compiler: SQLCompiler, **given: Any) -> str:
    return _written(join, compiler, "CROSS JOIN", given)


def _written(join: _InOrder, compiler: SQLCompiler, word: str, given: dict[str, Any]) -> str:
    given = {name: value for name, value in given.items() if name not in {"asfrom", "from_linter"}}
    left, right = (compiler.process(side, asfrom=True, **given) for side in (join.left, join.right))
    assert join.onclause is not None
    return f"{left} {word} {right} ON {compiler.process(join.onclause, **given)}"


class _OfRow(FunctionElement[int]):
    """Something that no index has, so that MariaDB compares with the entries of an index where they lie.

    Of an index that has all that is asked for it takes a copy of each entry first, which costs as much again. SQLite
    takes none, and need not read the row.
    """

    inherit_cache = True


@compiles(_OfRow)
def _unindexed(_: _OfRow, compiler: SQLCompiler, **given: Any) -> str:
    return compiler.process(_FIRST.c.epoch, **given)


@compiles(_OfRow, "sqlite")
def _nothing(_: _OfRow, _compiler: SQLCompiler, **_given: Any) -> str:
    return "0"


def page(wanted: Filter, count: int, after: Place | None, who: Who = OPERATOR, lead: str | None = None) -> Select[Any]:
    """The statement of one page: found by its keys in the indexes alone where that is possible, then read.

    `lead` names the column whose index is read; without it that is the scope's, or the most telling one's.
    """
    asked = list(asked_of(wanted))
    if any(one.name == "id" for one in asked):  # all else is read of these few
        lead = "id"
    states = tuple(State) if wanted.states is None else wanted.states
    scopes = _scopes(who)
    if lead is not None or len(states) * len(scopes) > _BRANCHES_MAX:
        scopes = [_Scope(None, lambda of: seen_by(who, of), _ruled_in(who))]
    most = _BRANCHES_MAX // max(1, len(states) * len(scopes))
    branches = []
    for scope in scopes:
        for first, ruled in _leads(asked, scope, lead, most):
            keys = _newest(first, [*ruled, *scope.ruled, *_labelled(wanted)], wanted, after, scope, count)
            branches += [keys.where(_FIRST.c.state == state).subquery() for state in states]
    if not branches:
        return select(*_LISTED).where(false())
    merged = union_all(*(select(branch.c.id, branch.c.enqueued_at) for branch in branches)).subquery()
    newest = select(merged).order_by(merged.c.enqueued_at.desc(), merged.c.id.desc()).limit(count).subquery()
    ordered = select(*_LISTED).join(newest, tasks.c.id == newest.c.id)
    return ordered.order_by(newest.c.enqueued_at.desc(), newest.c.id.desc())


def page_of(few: list[str], wanted: Filter, count: int, after: Place | None, who: Who) -> Select[Any]:
    """The statement of a page of these tasks, which are read all, whatever indexes the filter offers besides."""
    read = select(*_LISTED).where(tasks.c.id.in_(few)).limit(len(few)).subquery()
    of = dict(read.c.items())
    states = [] if wanted.states is None else [read.c.state.in_(wanted.states)]
    found = select(read).where(*states, *seen_by(who, of), *meant(wanted, after, of))
    return found.order_by(read.c.enqueued_at.desc(), read.c.id.desc()).limit(count)


def asked_of(wanted: Filter) -> Iterator[Equal]:
    """What a filter asks for by value, the most telling first."""
    for flag in _FLAGS:
        if getattr(wanted, flag):  # of those without there are many
            yield Equal(flag, (True,))
    for field, name in COLUMNS.items():
        values = getattr(wanted, field)
        if is_exact(field, values):
            yield Equal(name, tuple(dict.fromkeys(fitted(value) for value in values)))
        elif values == ():
            yield Equal(name, (None,))


def _scopes(who: Who) -> list[_Scope]:
    """What somebody may see, in parts of which no two have a task in common; for an operator one."""
    if who.operator:
        return [_Scope(None, lambda _: ())]
    user = fitted(who.user) if who.user else None
    # In a form that no index serves: it is true of most tasks, and a database would count them through.
    others: Rest = lambda of: [func.coalesce(of["owner"], "") != user] if user else []  # noqa: E731
    owned = [_Scope(Equal("owner", (user,)), lambda _: ())] if user else []
    shared = dict.fromkeys(fitted(one) for one in who.tenants if one)
    return [*owned, *(_Scope(Equal("tenant", (tenant,)), others) for tenant in shared)]


def _leads(
    asked: list[Equal], scope: _Scope, lead: str | None, most: int
) -> Iterator[tuple[Equal | None, list[ColumnElement[bool]]]]:
    """What an index is read for in a scope, one value at a time, and what its traits rule out of what else is asked."""
    if any(scope.equal and one.name == scope.equal.name and scope.equal.values[0] not in one.values for one in asked):
        return
    led = [one for one in asked if one.name == lead or (lead is None and len(one.values) <= most)]
    led.sort(key=lambda one: (one.values == (None,) and one.name != "worker", _TELLING.index(one.name)))
    first = scope.equal or (led[0] if led else None)
    ruled = [one for equal in asked if first is None or equal.name != first.name for one in _ruled(equal)]
    if first is None or len(first.values) > most:
        yield first, ruled
        return
    for value in first.values:
        yield replace(first, values=(value,)), ruled


def _ruled(equal: Equal) -> Iterator[ColumnElement[bool]]:
    """What the traits of a task must be for it to have one of these values."""
    here = _FIRST_HAS["traits"]
    if equal.values == (None,):
        if (bit := present(equal.name)) is not None:
            yield here.bitwise_and(bit) == 0
    elif equal.name not in {"id", *_FLAGS} and len(equal.values) <= _RULED_MAX:
        yield or_(*(_has(here, trait(equal.name, str(value))) for value in equal.values))


def _ruled_in(who: Who) -> list[ColumnElement[bool]]:
    """The same for what somebody may see; an operator's own name rules nothing out."""
    if who.operator:
        return []
    shown = [("owner", who.user), *(("tenant", one) for one in who.tenants)]
    bits = [trait(name, fitted(value)) for name, value in shown if value]
    return [or_(*(_has(_FIRST_HAS["traits"], one) for one in bits))] if 0 < len(bits) <= _RULED_MAX else []


def _labelled(wanted: Filter) -> list[ColumnElement[bool]]:
    given = (wanted.labels or {}).items()
    return [_has(_FIRST_HAS["label_traits"], labelled(fitted(name), fitted(value))) for name, value in given]


def _has(column: ColumnElement[Any], bits: int) -> ColumnElement[bool]:
    return column.bitwise_and(bits) == bits


def _newest(
    first: Equal | None,
    ruled: list[ColumnElement[bool]],
    wanted: Filter,
    after: Place | None,
    scope: _Scope,
    count: int,
) -> Select[Any]:
    """The keys of the newest of which all of this holds, of all states yet; made once, for that takes its time."""
    source: FromClause = _FIRST
    of = _FIRST_HAS
    if first is not None and first.name in {"id", *_FLAGS}:
        ruled = []
    if ruled:  # by the index alone; what is left is read
        source = _InOrder(_FIRST, _ROW, _ROW.c.id == _FIRST.c.id)
        lead = () if first is None else (first.name, "owner") if first.name == "tenant" else (first.name,)
        of = _ROW_HAS | {name: _FIRST_HAS[name] for name in ("id", "state", "enqueued_at", *lead)}
    conditions = [*([first.holds(_FIRST_HAS)] if first else []), *ruled, *scope.rest(of), *meant(wanted, after, of)]
    keys = select(_FIRST.c.id, _FIRST.c.enqueued_at).select_from(source).where(*conditions)
    index = _index(first, wanted, ruled=bool(ruled))
    if index in {"state", "tenant"} and (ruled or has_pattern(wanted)):
        keys = keys.add_columns(_OfRow().label("of_row"))
    if index is not None and index != "id":
        # MariaDB would look through all tasks of a state, newest first, for what few have.
        for dialect in ("mysql", "mariadb"):
            keys = keys.with_hint(_FIRST, f"FORCE INDEX (tasks_{index})", dialect)
    return keys.order_by(_FIRST.c.enqueued_at.desc(), _FIRST.c.id.desc()).limit(count)


def _index(first: Equal | None, wanted: Filter, *, ruled: bool) -> str | None:
    """The index to read; None where the database is to choose, which may know ids by how they begin."""
    if first is not None:
        return first.name
    walked = ruled or wanted.ids
    return "state" if walked and all(value.startswith("*") for value in wanted.ids or ()) else None
