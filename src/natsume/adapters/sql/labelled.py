"""Tasks by their labels: where few have one, these are read; where many have it, they soon come up by themselves."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from natsume.adapters.sql.schema import labels
from natsume.core.said import fitted

_FEW: Final = 2000


async def few_labelled(connection: AsyncConnection, wanted: Mapping[str, str]) -> list[str] | None:
    """The tasks that have the label of these that is rarest; None if each is on many."""
    rarest: list[str] | None = None
    for name, value in wanted.items():
        label = (labels.c.name == fitted(name), labels.c.value == fitted(value))
        having = select(labels.c.task_id).where(*label).limit(_FEW + 1)
        found = list((await connection.execute(having)).scalars())
        if len(found) <= _FEW and (rarest is None or len(found) < len(rarest)):
            rarest = found
    return rarest


def labelled(wanted: Mapping[str, str], task_id: ColumnElement[Any]) -> Iterator[ColumnElement[bool]]:
    """That a task has all of these."""
    for name, value in wanted.items():
        # One value looked up for each row. Of EXISTS, MariaDB would make a table of all tasks that have the label.
        has = select(labels.c.value).where(labels.c.task_id == task_id, labels.c.name == fitted(name))
        yield has.scalar_subquery() == fitted(value)
