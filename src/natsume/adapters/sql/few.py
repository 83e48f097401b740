"""Whether what is asked for is on few tasks only: these are read, and nothing else."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Select, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from natsume.adapters.sql.meant import TIMES, within
from natsume.adapters.sql.paging import asked_of
from natsume.adapters.sql.schema import labels, tasks
from natsume.core.rights import Who
from natsume.core.said import fitted
from natsume.model.ledger import Filter
from natsume.model.task import State

_FEW: Final = 2000
_SOME: Final = 30_000
"""So many entries of an index are counted, and read, at once."""


async def few_of(connection: AsyncConnection, wanted: Filter) -> list[str] | None:
    """The tasks that have the rarest label, or lie in the narrowest span of time; None where none of these is narrow.

    What is on many soon comes up by itself.
    """
    rarest: list[str] | None = None
    for having in _narrow(wanted):
        found = list((await connection.execute(having.limit(_FEW + 1))).scalars())
        if len(found) <= _FEW and (rarest is None or len(found) < len(rarest)):
            rarest = found
    return rarest


async def lead_of(connection: AsyncConnection, wanted: Filter, who: Who) -> str | None:
    """The column of which the index is to be read, where two or more could be and few enough have what is asked there.

    None where it does not matter, or many have each of these: among them much of what one may see soon comes up.
    """
    asked = sorted(asked_of(wanted), key=lambda one: one.values == (None,))
    if not asked or (who.operator and len(asked) == 1 and not wanted.labels):
        return None
    states = tuple(State) if wanted.states is None else wanted.states
    of = dict(tasks.c.items())
    for one in asked:
        span = within(wanted, TIMES[0], of)
        found = select(literal(1)).where(one.holds(of), tasks.c.state.in_(states), *span)
        counted = select(func.count()).select_from(found.limit(_SOME + 1).subquery())
        if one.name == "id" or (await connection.execute(counted)).scalar_one() <= _SOME:
            return one.name
    return None


def _narrow(wanted: Filter) -> Iterator[Select[Any]]:
    for name, value in (wanted.labels or {}).items():
        label = (labels.c.name == fitted(name), labels.c.value == fitted(value))
        yield select(labels.c.task_id).where(*label)
    states = tuple(State) if wanted.states is None else wanted.states
    for name in TIMES[1:]:  # by the first one the pages are ordered
        bounds = list(within(wanted, name, dict(tasks.c.items())))
        if bounds:
            yield select(tasks.c.id).where(tasks.c.state.in_(states), *bounds)
