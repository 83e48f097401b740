"""The ledger's database from its URL, and its errors as ours."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from natsume.exceptions import LedgerError, UsageError
from natsume.model import times
from natsume.settings import Settings
from natsume.sqlite_end import stopping_once

_BUSY_MS: Final = 5000
_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {_BUSY_MS}",
    # A record is acknowledged once its row is committed, so that the commit must survive a power cut.
    "PRAGMA synchronous = FULL",
    "PRAGMA cache_size = -65536",
    "PRAGMA case_sensitive_like = ON",
)
_SAID_MAX: Final = 300
_MISFITS: Final = (ValueError, TypeError, OverflowError)
"""What a driver raises for a value that it cannot send."""


def url_of(settings: Settings) -> URL:
    """The URL of the ledger; SQLite in the data directory where none is set."""
    if settings.database_url is None:
        return URL.create("sqlite+aiosqlite", database=str(settings.ledger_file))
    try:
        return make_url(settings.database_url)
    except ArgumentError:
        # The text may hold a password.
        raise UsageError("NATSUME_DATABASE_URL is no URL such as mysql+asyncmy://user:password@host/name") from None


def engine_of(settings: Settings) -> AsyncEngine:
    """An engine for the ledger, not connected yet; raises UsageError."""
    url = url_of(settings)
    if url.get_backend_name() not in {"sqlite", "mysql", "mariadb"}:
        raise UsageError(
            f"NATSUME_DATABASE_URL names a {url.get_backend_name()} database; use sqlite+aiosqlite or mysql+asyncmy"
        )
    try:
        if url.get_backend_name() == "sqlite":
            return _sqlite(url)
        # Gaps between rows are not to be locked: other conductors write there.
        return create_async_engine(url, pool_size=2, pool_pre_ping=True, isolation_level="READ COMMITTED")
    except (SQLAlchemyError, ImportError) as error:
        raise UsageError(
            f"NATSUME_DATABASE_URL has the driver {url.drivername}, which is none of ours; use sqlite+aiosqlite or"
            " mysql+asyncmy"
        ) from error


def _sqlite(url: URL) -> AsyncEngine:
    if url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the ledger's directory cannot be made: {error}; set NATSUME_DATA_DIR") from error
    engine = stopping_once(create_async_engine(url))
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    # The mode is the file's, and no busy timeout holds for changing it: who is refused here meets another who does.
    with suppress(sqlite3.OperationalError):
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()


@asynccontextmanager
async def transaction(engine: AsyncEngine, *, bounded: bool = True) -> AsyncIterator[AsyncConnection]:
    """A transaction that is committed at the end of the block; raises LedgerError, also after a bounded time."""
    try:
        async with asyncio.timeout(times.LEDGER_COMMIT_S if bounded else None), engine.begin() as connection:
            yield connection
    except TimeoutError:
        raise LedgerError(f"the ledger's database did not answer within {times.LEDGER_COMMIT_S:g} s") from None
    except (SQLAlchemyError, OSError, *_MISFITS) as error:
        raise ledger_error(error) from error


def ledger_error(error: Exception) -> LedgerError:
    """What the database said, in one line, and whether it will never take the very data."""
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    line = " ".join(str(cause).split())[:_SAID_MAX] or type(cause).__name__
    return LedgerError(
        f"the ledger's database says: {line}", refused=isinstance(error, DataError) or isinstance(cause, _MISFITS)
    )
