"""Where the examples keep their tables: where the environment says, else in SQLite files of the data directory."""

import os
from typing import ClassVar, Self
from weakref import WeakSet

from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.schema import CreateIndex, CreateTable

from natsume import provide
from natsume.databases import BaseSQLDB
from natsume.settings import Settings


class ExampleDB(BaseSQLDB):
    """A database of the examples, with tables of its own.

    In an SQLite file they are created at the first use; elsewhere `python -m natsume_examples` creates them.
    """

    metadata: ClassVar[MetaData]
    _complete: ClassVar[WeakSet[AsyncEngine]] = WeakSet()

    @classmethod
    def no_transaction(cls) -> Self:
        """The database without an open transaction."""
        if not os.environ.get(cls.url_variable()):
            folder = Settings.read().data_dir
            folder.mkdir(parents=True, exist_ok=True)
            os.environ[cls.url_variable()] = f"sqlite+aiosqlite:///{folder}/{cls.__name__.lower()}.sqlite"
        return super().no_transaction()

    async def create_tables(self) -> None:
        """Create what is missing."""
        await self.conn.run_sync(self.metadata.create_all)

    async def __aenter__(self) -> Self:
        if self.engine.dialect.name == "sqlite" and self.engine not in self._complete:
            async with self.engine.begin() as connection:
                await connection.run_sync(self._create)
            self._complete.add(self.engine)
        return await super().__aenter__()

    def _create(self, connection: Connection) -> None:
        """Create what is missing, also where another process does so at the same time."""
        for table in self.metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))


# Unlike other databases, these need no variable to be set: one can play with them at once.
provide(ExampleDB, lambda cls: cls.transaction(), no_transaction=lambda cls: cls.no_transaction())
