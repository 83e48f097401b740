"""What the ledger knows of those who read a join and its members: its callbacks, and their replays."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from natsume.adapters.sql.schema import tasks
from natsume.core.join import Join
from natsume.model.task import ENDED

_DEAD: Final = and_(tasks.c.reason.is_not(None), tasks.c.settled.is_(None))
SETTLED: Final = and_(tasks.c.state.in_(sorted(ENDED)), ~_DEAD)
"""Ended, and settled if dead."""


def readers_of(join: Join) -> set[str]:
    """The ids of the callbacks that were submitted, or will be."""
    alarm = {join.on_failure.id} if join.on_failure is not None and join.failure_told else set[str]()
    return {join.callback.id} | alarm


async def over(connection: AsyncConnection, task_ids: Iterable[str]) -> set[str]:
    """Those that have ended and are settled if dead; of one that was replayed, its replay too, and so on."""
    asked, found = {one: one for one in task_ids}, set[str]()
    seen = set(asked)
    while asked:
        wanted = select(tasks.c.id, tasks.c.replay).where(tasks.c.id.in_(asked), SETTLED)
        rows = (await connection.execute(wanted)).all()
        found |= {asked[row.id] for row in rows if row.replay is None}
        asked = {row.replay: asked[row.id] for row in rows if row.replay is not None and row.replay not in seen}
        seen |= set(asked)
    return found
