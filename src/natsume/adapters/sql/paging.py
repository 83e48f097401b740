"""The statement of one page, newest first.

For every state, and every value of what tells most, the newest lie together in an index. So each of these is asked
for one page by itself, and the pages are merged: the database reads little that it does not show. What else is asked
for by value is looked up in its own index, which has the same order; only what stands in all of these is read.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from sqlalchemy import ColumnElement, FromClause, Join, Select, and_, false, func, select, union_all
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from natsume.adapters.sql.meant import COLUMNS, Columns, is_exact, meant, seen_by
from natsume.adapters.sql.schema import tasks
from natsume.core.rights import OPERATOR, Who
from natsume.core.said import fitted
from natsume.model.ledger import Filter, Place, Row
from natsume.model.task import State

_LONG: Final = frozenset({"arguments", "result", "subject", "headers", "body", "error_message", "settled_why"})
_LISTED: Final = tuple(tasks.c[name] for name in Row.__struct_fields__ if name not in _LONG)
_FLAGS: Final = ("cancel_requested", "consumed")
_TELLING: Final = ("id", *_FLAGS, *(name for name in COLUMNS.values() if name != "id"))
"""What may be asked for by value, the most telling first; each has an index of its own."""
_BRANCHES_MAX: Final = 64

# Made once, for a table has many columns; each part of a statement has names of its own.
_FIRST: Final = tasks.alias("tasks_first")
_FIRST_HAS: Final = dict(_FIRST.c.items())
_BESIDE: Final = [(one, dict(one.c.items())) for one in (tasks.alias(f"tasks_{n}") for n in range(len(_TELLING)))]
_ROW: Final = tasks.alias("tasks_row")
_ROW_HAS: Final = {**dict(_ROW.c.items()), "enqueued_at": _FIRST.c.enqueued_at}
Rest = Callable[[Columns], Iterable[ColumnElement[bool]]]


class _Equal(msgspec.Struct, frozen=True):
    """One of these values in a column; `(None,)` for none at all."""

    name: str
    values: tuple[str | bool | None, ...]
    field: str = ""

    def holds(self, of: Columns) -> ColumnElement[bool]:
        column = of[self.name]
        if len(self.values) > 1:
            return column.in_(self.values)
        return column.is_(None) if self.values[0] is None else column == self.values[0]


class _Scope(msgspec.Struct, frozen=True):
    """A part of what somebody may see: by a value, and by what else must hold."""

    equal: _Equal | None
    rest: Rest


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


def page(wanted: Filter, count: int, after: Place | None, who: Who = OPERATOR) -> Select[Any]:
    """The statement of one page: found by its keys in the indexes alone where that is possible, then read."""
    states = tuple(State) if wanted.states is None else wanted.states
    scopes = _scopes(who)
    if len(states) * len(scopes) > _BRANCHES_MAX:
        scopes = [_Scope(None, lambda of: seen_by(who, of))]
    most = _BRANCHES_MAX // max(1, len(states) * len(scopes))
    asked = [one for one in _asked(wanted) if len(one.values) <= most]
    if any(one.name == "id" for one in asked):  # all else is read of these few
        asked = [one for one in asked if one.name == "id"]
        scopes = [_Scope(None, lambda of: seen_by(who, of))]
    answered = {one.field for one in asked}
    branches = []
    for state, scope in product(states, scopes):

        def rest(of: Columns, scope: _Scope = scope) -> Iterator[ColumnElement[bool]]:
            yield from scope.rest(of)
            yield from meant(wanted, answered, after, of)

        branches += [_newest(state, equals, rest, count) for equals in _equals(asked, scope.equal)]
    if not branches:
        return select(*_LISTED).where(false())
    merged = union_all(*(select(branch.subquery()) for branch in branches)).subquery()
    newest = select(merged).order_by(merged.c.enqueued_at.desc(), merged.c.id.desc()).limit(count).subquery()
    ordered = select(*_LISTED).join(newest, tasks.c.id == newest.c.id)
    return ordered.order_by(newest.c.enqueued_at.desc(), newest.c.id.desc())


def page_of(few: list[str], wanted: Filter, count: int, after: Place | None, who: Who) -> Select[Any]:
    """The statement of a page of these tasks, which are read all, whatever indexes the filter offers besides."""
    read = select(*_LISTED).where(tasks.c.id.in_(few)).limit(len(few)).subquery()
    of = dict(read.c.items())
    states = [] if wanted.states is None else [read.c.state.in_(wanted.states)]
    found = select(read).where(*states, *seen_by(who, of), *meant(wanted, (), after, of))
    return found.order_by(read.c.enqueued_at.desc(), read.c.id.desc()).limit(count)


def _asked(wanted: Filter) -> Iterator[_Equal]:
    """What a filter asks for by value."""
    for field, name in COLUMNS.items():
        values = getattr(wanted, field)
        if is_exact(field, values):
            yield _Equal(name, tuple(dict.fromkeys(fitted(value) for value in values)), field)
        elif values == ():
            yield _Equal(name, (None,), field)

    for flag in _FLAGS:
        if getattr(wanted, flag):  # of those without there are many
            yield _Equal(flag, (True,), flag)


def _scopes(who: Who) -> list[_Scope]:
    """What somebody may see, in parts of which no two have a task in common; for an operator one."""
    if who.operator:
        return [_Scope(None, lambda _: ())]
    user = fitted(who.user) if who.user else None
    # In a form that no index serves: it is true of most tasks, and a database would count them through.
    others: Rest = lambda of: [func.coalesce(of["owner"], "") != user] if user else []  # noqa: E731
    owned = [_Scope(_Equal("owner", (user,)), lambda _: ())] if user else []
    shared = dict.fromkeys(fitted(one) for one in who.tenants if one)
    return [*owned, *(_Scope(_Equal("tenant", (tenant,)), others) for tenant in shared)]


def _equals(asked: list[_Equal], scope: _Equal | None) -> Iterator[list[_Equal]]:
    """What must be equal in a scope, the most telling first and with one value at a time."""
    equals = list(asked)
    if scope is not None:
        if any(one.name == scope.name and scope.values[0] not in one.values for one in asked):
            return
        equals = [*(one for one in asked if one.name != scope.name), scope]
    equals.sort(key=lambda one: (one.values == (None,) and one.name != "worker", _TELLING.index(one.name)))
    if not equals:
        yield []
    for value in equals[0].values if equals else ():
        yield [replace(equals[0], values=(value,)), *equals[1:]]


def _newest(state: State, equals: list[_Equal], rest: Rest, count: int) -> Select[Any]:
    """The keys of the newest in a state of which all of this holds."""
    source: FromClause = _FIRST
    of = _FIRST_HAS
    for number, one in enumerate(equals[1:]):
        beside, has = _BESIDE[number]
        # In a form for which the index of ids is of no use: there one would read at random.
        here = (has["enqueued_at"] == of["enqueued_at"], has["id"].concat("") == of["id"])
        source = _InOrder(source, beside, and_(one.holds(has), has["state"] == state, *here))
    if len(equals) > 1:
        source = _InOrder(source, _ROW, _ROW.c.id == of["id"])
        of = _ROW_HAS
    conditions = [_FIRST.c.state == state, *(one.holds(_FIRST_HAS) for one in equals[:1]), *rest(of)]
    keys = select(_FIRST.c.id, _FIRST.c.enqueued_at).select_from(source).where(*conditions)
    if equals and equals[0].name != "id":
        # MariaDB would look through all tasks of a state, newest first, for what few have.
        for dialect in ("mysql", "mariadb"):
            keys = keys.with_hint(_FIRST, f"FORCE INDEX (tasks_{equals[0].name})", dialect)
    return keys.order_by(_FIRST.c.enqueued_at.desc(), _FIRST.c.id.desc()).limit(count)
