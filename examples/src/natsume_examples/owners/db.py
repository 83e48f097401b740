"""The tables of the owners: our copies, and which task made each of them."""

from datetime import datetime

from sqlalchemy import Column, DateTime, MetaData, String, Table, delete, func, insert, select, update

from natsume_examples.owners.logic import Change, Owner
from natsume_examples.storage import ExampleDB

metadata = MetaData()

owners = Table(
    "owners",
    metadata,
    Column("vo", String(64), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("email", String(255), nullable=False),
    Column("synced_at", DateTime(timezone=True), nullable=False),
)

syncs = Table(
    "owner_syncs",
    metadata,
    Column("task_id", String(128), primary_key=True),
    Column("vo", String(64), nullable=False),
    Column("owner_name", String(255), nullable=False),
    Column("change", String(16), nullable=False),
    Column("synced_at", DateTime(timezone=True), nullable=False),
)


class OwnersDB(ExampleDB):
    """The database of the owners; NATSUME_DB_URL_OWNERS_DB."""

    metadata = metadata

    async def sync_of(self, task_id: str) -> Change | None:
        """What this task has done already."""
        found = await self.conn.scalar(select(syncs.c.change).where(syncs.c.task_id == task_id))
        return Change(found) if found else None

    async def owner(self, vo: str, name: str) -> Owner | None:
        """Our copy."""
        query = select(owners.c.vo, owners.c.name, owners.c.email).where(owners.c.vo == vo, owners.c.name == name)
        row = (await self.conn.execute(query)).first()
        return Owner(*row) if row else None

    async def keep(self, task_id: str, owner: Owner, change: Change, at: datetime) -> None:
        """Write our copy, and that this task did so; the lock on the owner keeps others out."""
        if change is Change.CREATED:
            values = {"vo": owner.vo, "name": owner.name, "email": owner.email, "synced_at": at}
            await self.conn.execute(insert(owners).values(values))
        else:
            ours = update(owners).where(owners.c.vo == owner.vo, owners.c.name == owner.name)
            await self.conn.execute(ours.values(email=owner.email, synced_at=at))
        done = {"task_id": task_id, "vo": owner.vo, "owner_name": owner.name, "change": change, "synced_at": at}
        await self.conn.execute(insert(syncs).values(done))

    async def forget_syncs(self, before: datetime) -> int:
        """Delete what is kept of tasks that ended before; how many there were."""
        return (await self.conn.execute(delete(syncs).where(syncs.c.synced_at < before))).rowcount

    async def changes(self, vo: str, since: datetime) -> dict[str, int]:
        """How many changes of each kind were made to a VO's owners since."""
        these = select(syncs.c.change, func.count()).where(syncs.c.vo == vo, syncs.c.synced_at >= since)
        rows = await self.conn.execute(these.group_by(syncs.c.change))
        return {row.change: row[1] for row in rows}
