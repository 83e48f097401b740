"""When schedules ticked last, as the ledger knows it."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from natsume.adapters.sql.engine import transaction
from natsume.adapters.sql.schema import tasks
from natsume.model.tick import Ran, ids_since


class SqlTicks:
    """Asks by the ticks' ids, which begin with their schedule and end with when they were due."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def last(self, schedules: Sequence[str], since: float) -> dict[str, Ran]:
        """The latest tick of each of these schedules that was due since then (Unix seconds) and has started."""
        last = {}
        async with transaction(self._engine) as connection:
            for schedule in schedules:
                first, beyond = ids_since(schedule, since)
                theirs = (tasks.c.id >= first, tasks.c.id < beyond, tasks.c.started_at.is_not(None))
                latest = select(tasks.c.id, tasks.c.started_at).where(*theirs).order_by(tasks.c.id.desc()).limit(1)
                for row in await connection.execute(latest):
                    last[schedule] = Ran(row.id, row.started_at.timestamp())
        return last
