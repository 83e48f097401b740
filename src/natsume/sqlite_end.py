"""A mend of SQLite's driver: a connection that is stopped twice."""

import asyncio
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine


def stopping_once(engine: AsyncEngine) -> AsyncEngine:
    """This engine, whose SQLite connections answer also the second of two stops; another database's as it is.

    SQLAlchemy stops a connection whose close is cancelled, and that close, which goes on, stops it again. aiosqlite's
    thread ends at the first stop: nobody would answer the second, and the process that waits for it would never end.
    """
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _stop_once)
    return engine


def _stop_once(connection: Any, _record: object) -> None:
    driver = connection.driver_connection
    stop, stopped = driver.stop, list["asyncio.Future[Any] | None"]()

    def once() -> "asyncio.Future[Any] | None":
        """Whoever waits for a later stop waits for the first."""
        if not stopped:
            stopped.append(stop())
        return stopped[0]

    driver.stop = once
