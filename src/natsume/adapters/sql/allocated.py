"""What is committed into an outbox in the ledger's own database, and which nothing else knows yet."""

from typing import Final

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from natsume.adapters.sql.engine import transaction
from natsume.core.projection import allocation
from natsume.exceptions import LedgerError
from natsume.model.ledger import Row
from natsume.model.record import Submitted
from natsume.model.subject import parse_ready
from natsume.outbox import table

_IS_THERE: Final = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name",
    "mysql": "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = :name",
}
"""Asked each time: a service may make its table, or drop it, while others ask."""


async def has_outbox(engine: AsyncEngine) -> bool:
    """Whether there is an outbox beside the ledger, for those who may read it."""
    dialect = "sqlite" if engine.dialect.name == "sqlite" else "mysql"
    async with transaction(engine) as connection:
        return (await connection.execute(text(_IS_THERE[dialect]), {"name": table.name})).first() is not None


async def allocated(engine: AsyncEngine, task_id: str) -> Row | None:
    """A task of the outbox, if it is there; whether it was published by now, broker and ledger tell."""
    columns = (table.c.number, table.c.subject, table.c.headers, table.c.body, table.c.submitted_at, table.c.due)
    first = select(*columns).where(table.c.id == task_id).order_by(table.c.number).limit(1)
    async with transaction(engine) as connection:
        found = (await connection.execute(first)).first()
    if found is None:
        return None
    try:
        _, actor = parse_ready(found.subject)
        body = bytes(found.body)
        record = Submitted(task_id, actor or "", found.submitted_at, found.subject, found.headers, body, found.due)
        return allocation(record)
    except (msgspec.MsgspecError, ValueError, LookupError) as error:
        raise LedgerError(f"row {found.number} of the outbox, of task {task_id}, cannot be read: {error}") from error
