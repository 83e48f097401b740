"""What tasks took, by actor: the ledger's tasks that ended in a span of time, added up by the database."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncEngine

from natsume.adapters.sql.engine import transaction
from natsume.adapters.sql.schema import tasks
from natsume.model.ledger import Hunger, Resource
from natsume.model.task import ENDED

_DAY_S: Final = 86_400


async def hungriest(engine: AsyncEngine, by: Resource, since: float, count: int) -> list[Hunger]:
    """The actors whose tasks took most of a resource since a Unix time; those of which nothing is known are left out.

    By memory the one with the highest peak comes first, by cpu and wall time the one whose tasks took most together.
    """
    async with transaction(engine) as connection:
        statement = _statement(by, since, count, sqlite=connection.dialect.name == "sqlite")
        return [Hunger(**found) for found in (await connection.execute(statement)).mappings()]


def _statement(by: Resource, since: float, count: int, *, sqlite: bool) -> Select[Any]:
    wall_s = _between(sqlite=sqlite)
    columns = {
        "actor": tasks.c.actor,
        "tasks": func.count(),
        "wall_s": func.sum(wall_s),
        "wall_max_s": func.max(wall_s),
        "cpu_s": func.sum(tasks.c.cpu_s),
        "cpu_max_s": func.max(tasks.c.cpu_s),
        "memory_peak_bytes": func.max(tasks.c.memory_peak_bytes),
    }
    most = columns[{Resource.MEMORY: "memory_peak_bytes", Resource.CPU: "cpu_s", Resource.WALL: "wall_s"}[by]]
    return (
        select(*(column.label(name) for name, column in columns.items()))
        .where(
            tasks.c.state.in_([str(state) for state in ENDED]),
            tasks.c.finished_at >= datetime.fromtimestamp(since, UTC),
        )
        .where(tasks.c.started_at.is_not(None))
        .group_by(tasks.c.actor)
        .having(most.is_not(None))
        .order_by(most.desc(), tasks.c.actor)
        .limit(count)
    )


def _between(*, sqlite: bool) -> ColumnElement[Any]:
    """How long a task ran the last time, in seconds."""
    if sqlite:
        return (func.julianday(tasks.c.finished_at) - func.julianday(tasks.c.started_at)) * _DAY_S
    micros = func.timestampdiff(literal_column("MICROSECOND"), tasks.c.started_at, tasks.c.finished_at)
    return func.coalesce(micros, 0) / 1e6
