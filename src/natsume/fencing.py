"""Writes to SQL under a lock: the row keeps the highest token that wrote it, and takes no lower one."""

from typing import Any

from sqlalchemy import Update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.elements import ColumnElement

from natsume.exceptions import Fenced


async def fenced_write(
    connection: AsyncConnection, update: Update, fence: ColumnElement[Any] | InstrumentedAttribute[Any], token: int
) -> int:
    """Carry an UPDATE out on the rows that no later holder has written, and keep the token in their column `fence`.

    Returns how many rows were written; raises Fenced where none was: a later holder has been there, or no
    row is what the UPDATE asks for. One holder may write a row several times.
    """
    statement = update.where(fence <= token).values({fence: token})
    written = (await connection.execute(statement)).rowcount
    if not written:
        table = getattr(update.table, "name", "the table")
        raise Fenced(
            f"no row of {table} was written under the token {token}: a later holder of the lock has written, or there"
            " is no such row; roll back and let the task fail"
        )
    return written
