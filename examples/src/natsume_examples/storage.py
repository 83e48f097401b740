"""Where the examples keep their tables: where the environment says, else in SQLite files of the data directory."""

import os
from typing import ClassVar, Self

from sqlalchemy import MetaData

from natsume import provide
from natsume.databases import BaseSQLDB
from natsume.settings import Settings


class ExampleDB(BaseSQLDB):
    """A database of the examples, with tables of its own."""

    metadata: ClassVar[MetaData]

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


# Unlike other databases, these need no variable to be set: one can play with them at once.
provide(ExampleDB, lambda cls: cls.transaction(), no_transaction=lambda cls: cls.no_transaction())
