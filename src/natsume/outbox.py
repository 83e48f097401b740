"""The outbox: a table in a service's own database, whose rows become tasks once their transaction has committed.

`metadata` and `table` are for your migrations, `create_table` makes it at once. `client.submit(task, session=…)` and
`task.schedule(session=…)` write a row; `natsume relay`, or `relaying` in a process of your own, publishes it.
"""

import asyncio
import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    insert,
    select,
)
from sqlalchemy import event as events
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from natsume.exceptions import UsageError
from natsume.model import limits
from natsume.model.codec import task_headers, task_subject
from natsume.model.record import Place
from natsume.model.task import Task
from natsume.sqlite_end import stopping_once

if TYPE_CHECKING:
    from sqlalchemy import Connection

    AnySession = AsyncSession | AsyncConnection | Session | Connection

__all__ = ["create_table", "metadata", "table"]

metadata = MetaData()

_MYSQL: Final = ("mysql", "mariadb")
_NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up integers only
_ID: Final = String(limits.ID_MAX).with_variant(mysql.VARCHAR(limits.ID_MAX, charset="ascii"), *_MYSQL)
_BYTES: Final = LargeBinary().with_variant(mysql.MEDIUMBLOB(), *_MYSQL)
_OPTIONS: Final[dict[str, Any]] = {
    f"{dialect}_{option}": value
    for dialect in _MYSQL
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}

table = Table(
    "natsume_outbox",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False),
    Column("subject", String(1024), nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", _BYTES, nullable=False),
    Column("submitted_at", Double, nullable=False),
    Column("due", Double),
    Column("place", Text),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("claimed_until", Double),
    Column("broker", String(64), nullable=False, server_default=""),
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    Index("natsume_outbox_broker", "broker", "sequence", "number"),
    Index("natsume_outbox_id", "id"),
    **_OPTIONS,
)
"""A row is a whole message. `broker` is empty until it was published; then it stays until the ledger knows the task."""

_NUDGES: Final = "natsume nudges"


async def create_table(database: AsyncEngine | AsyncConnection) -> None:
    """Create the table and its index, unless they are there."""
    if isinstance(database, AsyncConnection):
        await database.run_sync(metadata.create_all)
        return
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)


def engine_at(url: str) -> AsyncEngine:
    """An engine for a database with an outbox, not connected yet; raises UsageError."""
    try:
        engine = stopping_once(create_async_engine(url))
    except (SQLAlchemyError, ImportError):
        # The text may hold a password.
        raise UsageError(
            "an outbox's database has no URL of an asynchronous driver of this installation, such as"
            " mysql+asyncmy://user:password@host/name or sqlite+aiosqlite:///path"
        ) from None
    if engine.dialect.name == "sqlite":
        events.listen(engine.sync_engine, "connect", _be_patient)
    return engine


async def require(engine: AsyncEngine) -> None:
    """Make sure that the table is there; raises UsageError."""
    try:
        async with engine.connect() as connection:
            await connection.execute(select(table.c.number).limit(1))
    except (SQLAlchemyError, OSError) as error:
        cause = " ".join(str(getattr(error, "orig", None) or error).split())
        raise UsageError(
            f"the outbox in {engine.url.render_as_string(hide_password=True)} cannot be read: {cause}; make it with"
            " natsume.outbox.create_table, or in your migrations"
        ) from None


def _be_patient(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 30000")
    cursor.close()


async def enqueue(
    session: "AnySession",
    task: Task,
    due: float | None,
    place: Place | None,
    at: float,
    nudge: Callable[[], None],
) -> None:
    """Write a row into the session's transaction; raises what the database says."""
    row = {
        "id": task.id,
        "subject": task_subject(task),
        "headers": task_headers(task).decode(),
        "body": task.body,
        "submitted_at": at,
        "due": due,
        "place": None if place is None else msgspec.json.encode(place).decode(),
    }
    execute: Any = getattr(session, "execute", None)
    if execute is None:
        raise UsageError(f"session={session!r} has no execute(): pass a session or a connection of SQLAlchemy")
    found = execute(insert(table).values(row))
    if inspect.isawaitable(found):
        await found
    sync = session.sync_session if isinstance(session, AsyncSession) else session
    # A connection does not tell when it has committed; then the relay finds out by looking.
    if isinstance(sync, Session) and _NUDGES not in sync.info:
        sync.info[_NUDGES] = True
        loop = asyncio.get_running_loop()

        def committed(session: Session) -> None:
            session.info.pop(_NUDGES, None)
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(nudge)

        events.listen(sync, "after_commit", committed, once=True)
