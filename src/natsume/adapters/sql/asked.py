"""The ledger, opened when it is first asked: who only submits loads no database (port Reading)."""

import asyncio
from typing import TYPE_CHECKING, Final

from natsume.core.rights import OPERATOR, Who
from natsume.exceptions import LedgerError
from natsume.model.ledger import Account, Filter, Hunger, Place, Resource, Row
from natsume.settings import Settings

if TYPE_CHECKING:
    from natsume.adapters.sql.reading import SqlReading


_NONE: Final = "there is no ledger here: run `natsume conductor`, or set NATSUME_DATABASE_URL to it"


class AskedLedger:
    """The ledger of these settings; where a conductor has yet to make its file, it knows of no task."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reading: SqlReading | None = None
        self._opening = asyncio.Lock()

    async def get(self, task_id: str, who: Who = OPERATOR) -> Account | None:
        """All that is known of a task, or None; for a task that they may not see, as if there were none."""
        reading = await self._opened()
        return await reading.get(task_id, who) if reading is not None else None

    async def find(self, wanted: Filter, count: int, after: Place | None = None, who: Who = OPERATOR) -> list[Row]:
        """At most `count` of the tasks that they may see, newest first, from after a place on; without long texts."""
        reading = await self._opened()
        if reading is None:
            raise LedgerError(_NONE)
        return await reading.find(wanted, count, after, who)

    async def hungriest(self, by: Resource, since: float, count: int) -> list[Hunger]:
        """The actors whose tasks took most of a resource since a Unix time."""
        from natsume.adapters.sql.hunger import hungriest  # noqa: PLC0415 - only who asks loads SQLAlchemy

        reading = await self._opened()
        if reading is None:
            raise LedgerError(_NONE)
        return await hungriest(reading.engine, by, since, count)

    async def consume(self, row: Row) -> None:
        """Keep that the owner of a task has seen its end; does nothing where there is no ledger."""
        reading = await self._opened()
        if reading is not None:
            await reading.consume(row)

    async def close(self) -> None:
        """Disconnect, if it was ever asked."""
        if self._reading is not None:
            await self._reading.close()

    async def _opened(self) -> "SqlReading | None":
        if self._reading is None:
            async with self._opening:
                if self._reading is None:
                    self._reading = await self._open()
        return self._reading

    async def _open(self) -> "SqlReading | None":
        if self._settings.database_url is None and not self._settings.ledger_file.exists():
            return None
        from natsume.adapters.sql.engine import engine_of  # noqa: PLC0415 - only who asks loads SQLAlchemy
        from natsume.adapters.sql.migrating import HEAD, revision  # noqa: PLC0415
        from natsume.adapters.sql.reading import SqlReading  # noqa: PLC0415

        engine = engine_of(self._settings)
        try:
            found = await revision(engine)
            if found is None and self._settings.database_url is None:
                await engine.dispose()  # a conductor is making it just now
                return None
            if found != HEAD:
                has = found or "not there"
                raise LedgerError(f"the ledger's schema is {has}, and this version needs {HEAD}: run `natsume migrate`")
        except BaseException:
            await engine.dispose()
            raise
        return SqlReading(engine)
