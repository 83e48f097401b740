"""Who follows from whom in the ledger (port Families)."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from natsume.adapters.sql.engine import transaction
from natsume.adapters.sql.schema import tasks
from natsume.model import limits
from natsume.model.task import ENDED, State

_UNFINISHED: Final = tuple(state for state in State if state not in ENDED)


class SqlFamilies:
    """Asks by the index on parents, which has the state behind each."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def unfinished(self, parents: Sequence[str]) -> AsyncIterator[list[tuple[str, str]]]:
        """Those of which these tasks are the parents and no end is known, in pages; each with its parent."""
        for at in range(0, len(parents), limits.LOOK_UP_MAX):
            theirs = (tasks.c.parent.in_(parents[at : at + limits.LOOK_UP_MAX]), tasks.c.state.in_(_UNFINISHED))
            after = ""
            while True:
                here = select(tasks.c.id, tasks.c.parent).where(*theirs, tasks.c.id > after).order_by(tasks.c.id)
                async with transaction(self._engine) as connection:
                    found = (await connection.execute(here.limit(limits.RESTORE_PAGE))).all()
                if not found:
                    break
                yield [(row.id, row.parent) for row in found]
                after = found[-1].id
