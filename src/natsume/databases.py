"""SQL databases of the users' tasks: a URL from the environment, one transaction per task."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, ClassVar, Self
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction, create_async_engine

from natsume.depends import provide
from natsume.exceptions import MissingDependency, UsageError
from natsume.sqlite_end import stopping_once

_PRAGMAS = ("PRAGMA busy_timeout = 30000", "PRAGMA journal_mode = WAL", "PRAGMA foreign_keys = ON")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NO_WORD = re.compile(r"[^A-Z0-9]+")

# An engine belongs to the event loop that its connections were made in.
_engines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, AsyncEngine]] = WeakKeyDictionary()


class BaseSQLDB:
    """A database that tasks ask for by class; `conn` is the connection of its open transaction.

    Its URL is in NATSUME_DB_URL_<NAME>: the attribute `name`, or the class's name in upper snake case.
    """

    name: ClassVar[str] = ""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._open: tuple[AsyncConnection, AsyncTransaction] | None = None

    @classmethod
    def url_variable(cls) -> str:
        """The environment variable that holds the URL."""
        words = _WORD_START.sub("_", cls.name or cls.__name__).upper()
        return f"NATSUME_DB_URL_{_NO_WORD.sub('_', words)}"

    @classmethod
    def no_transaction(cls) -> Self:
        """The database without an open transaction; `async with db:` opens one."""
        return cls(_engine(cls.url_variable()))

    @classmethod
    @asynccontextmanager
    async def transaction(cls) -> AsyncIterator[Self]:
        """The database in a transaction: committed at the end, rolled back on an exception."""
        async with cls.no_transaction() as database:
            yield database

    @property
    def conn(self) -> AsyncConnection:
        """The connection of the open transaction."""
        if self._open is None:
            raise UsageError(f"{type(self).__name__} has no open transaction: use it inside `async with db:`")
        return self._open[0]

    async def __aenter__(self) -> Self:
        if self._open is not None:
            raise UsageError(f"{type(self).__name__} has an open transaction already")
        connection = await self.engine.connect()
        try:
            self._open = connection, await connection.begin()
        except BaseException:
            await connection.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._open is not None, "entered before"
        (connection, transaction), self._open = self._open, None
        try:
            await (transaction.commit() if error is None else transaction.rollback())
        finally:
            await connection.close()


async def dispose_engines() -> None:
    """Close the engines of this event loop; a worker does so when it stops."""
    for engine in _engines.pop(asyncio.get_running_loop(), {}).values():
        await engine.dispose()


def _engine(variable: str) -> AsyncEngine:
    """The engine of the URL in this variable, made once per process and loop."""
    engines = _engines.setdefault(asyncio.get_running_loop(), {})
    if variable not in engines:
        url = os.environ.get(variable)
        if not url:
            raise MissingDependency(f"{variable} is not set: give it the URL of the database")
        try:
            engines[variable] = stopping_once(create_async_engine(url))
        except (ArgumentError, ImportError) as error:
            # The URL may hold a password, the error's text only its parse.
            raise MissingDependency(f"{variable} is no URL of a database that this installation reads") from error
        if engines[variable].dialect.name == "sqlite":
            event.listen(engines[variable].sync_engine, "connect", _prepare_sqlite)
    return engines[variable]


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


provide(
    BaseSQLDB,
    lambda cls: cls.transaction(),
    no_transaction=lambda cls: cls.no_transaction(),
    variables=lambda cls: (cls.url_variable(),),
)
