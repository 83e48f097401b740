"""A stand-in for the directory service of an installation: slow, and now and then not there, as told."""

import asyncio

from sqlalchemy import Column, Float, Integer, MetaData, String, Table, insert, select, update

from natsume.exceptions import UnretryableError
from natsume_examples.owners.logic import Owner
from natsume_examples.storage import ExampleDB

metadata = MetaData()

entries = Table(
    "directory_entries",
    metadata,
    Column("vo", String(64), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("email", String(255), nullable=False),
    Column("latency_s", Float, nullable=False, default=0.0),
    Column("outages", Integer, nullable=False, default=0),
)


class DirectoryDown(Exception):
    """The directory does not answer now; it may later."""


class UnknownOwner(UnretryableError):
    """The directory knows no such owner; asking again does not help."""


class Directory(ExampleDB):
    """The directory; NATSUME_DB_URL_DIRECTORY."""

    metadata = metadata

    async def add(self, owner: Owner, *, latency_s: float = 0.0, outages: int = 0) -> None:
        """Make an owner known; each look-up takes `latency_s`, the first `outages` of them fail."""
        values = {"vo": owner.vo, "name": owner.name, "email": owner.email}
        await self.conn.execute(insert(entries).values(values | {"latency_s": latency_s, "outages": outages}))

    async def look_up(self, vo: str, name: str) -> Owner:
        """What the directory says of an owner; raises UnknownOwner or DirectoryDown. Opens its own transaction."""
        this = (entries.c.vo == vo, entries.c.name == name)
        async with self:
            found = (await self.conn.execute(select(entries).where(*this))).first()
            if found is None:
                raise UnknownOwner(f"the directory knows no owner {name!r} of {vo!r}")
        await asyncio.sleep(found.latency_s)
        if found.outages:
            async with self:
                await self.conn.execute(update(entries).where(*this).values(outages=found.outages - 1))
            raise DirectoryDown(f"the directory did not answer when asked for {name!r}")
        return Owner(found.vo, found.name, found.email)
