"""The tables of the pilots."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    and_,
    func,
    insert,
    literal,
    not_,
    select,
    update,
)

from natsume_examples.pilots.logic import ACTIVE, NEXT, Element, Status
from natsume_examples.storage import ExampleDB

metadata = MetaData()

elements = Table(
    "compute_elements",
    metadata,
    Column("vo", String(64), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("capacity", Integer, nullable=False),
    Column("success_rate", Float, nullable=False),
    Column("enabled", Boolean, nullable=False),
)

pilots = Table(
    "pilot_submissions",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("vo", String(64), nullable=False, index=True),
    Column("ce_name", String(255), nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("submitted_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("updated_by", String(128), nullable=False),  # the task that put it where it stands
)


class PilotsDB(ExampleDB):
    """The database of the pilots; NATSUME_DB_URL_PILOTS_DB."""

    metadata = metadata

    async def add(self, many: Iterable[Element]) -> None:
        """Make compute elements known."""
        await self.conn.execute(insert(elements), [vars(element) for element in many])

    async def element(self, vo: str, name: str) -> Element | None:
        """A compute element as this VO may use it."""
        query = select(elements).where(elements.c.vo == vo, elements.c.name == name)
        row = (await self.conn.execute(query)).first()
        return Element(**row._mapping) if row else None

    async def elements(self, vo: str) -> list[Element]:
        """All compute elements of a VO."""
        rows = await self.conn.execute(select(elements).where(elements.c.vo == vo))
        return [Element(**row._mapping) for row in rows]

    async def active(self, vo: str) -> dict[str, int]:
        """How many pilots of a VO are active, by element."""
        query = select(pilots.c.ce_name, func.count()).where(pilots.c.vo == vo, pilots.c.status.in_(ACTIVE))
        rows = await self.conn.execute(query.group_by(pilots.c.ce_name))
        return {row.ce_name: row[1] for row in rows}

    async def status(self, pilot_id: str) -> Status | None:
        """Where a pilot stands; None if there is none."""
        found = await self.conn.scalar(select(pilots.c.status).where(pilots.c.id == pilot_id))
        return Status(found) if found else None

    async def statuses(self, vo: str) -> dict[str, Status]:
        """Where the pilots of a VO stand, by id."""
        rows = await self.conn.execute(select(pilots.c.id, pilots.c.status).where(pilots.c.vo == vo))
        return {pilot_id: Status(status) for pilot_id, status in rows}

    async def all_statuses(self) -> dict[str, list[Status]]:
        """Where all pilots stand, by VO."""
        found: dict[str, list[Status]] = {}
        for vo, status in await self.conn.execute(select(pilots.c.vo, pilots.c.status)):
            found.setdefault(vo, []).append(Status(status))
        return found

    async def to_check(self, vo: str, by: str, forgotten: datetime) -> list[tuple[str, str, Status]]:
        """Id, element and status of the active pilots of a VO, but for those that this task has moved already.

        A slot that was only reserved counts as forgotten if that was before the given time.
        """
        query = select(pilots.c.id, pilots.c.ce_name, pilots.c.status)
        reserved_late = and_(pilots.c.status == Status.RESERVED, pilots.c.updated_at >= forgotten)
        rows = await self.conn.execute(
            query.where(pilots.c.vo == vo, pilots.c.status.in_(ACTIVE), pilots.c.updated_by != by, not_(reserved_late))
        )
        return [(pilot_id, name, Status(status)) for pilot_id, name, status in rows]

    async def reserve(self, pilot_id: str, element: Element, at: datetime) -> bool:
        """Give a new pilot one of the element's free slots, if there is one; count and insert are one statement."""
        active = select(func.count()).where(
            pilots.c.vo == element.vo, pilots.c.ce_name == element.name, pilots.c.status.in_(ACTIVE)
        )
        values = {
            "id": pilot_id,
            "vo": element.vo,
            "ce_name": element.name,
            "status": Status.RESERVED,
            "submitted_at": at,
            "updated_at": at,
            "updated_by": pilot_id,
        }
        row = select(*(literal(value, pilots.c[name].type) for name, value in values.items()))
        guarded = row.where(active.scalar_subquery() < element.capacity)
        written = await self.conn.execute(insert(pilots).from_select(list(values), guarded))
        return written.rowcount == 1

    async def transition(self, pilot_id: str, status: Status, at: datetime, by: str | None = None) -> bool:
        """Move a pilot on, as its own task or another; False if it stands where it cannot go there from."""
        before = [previous for previous, following in NEXT.items() if status in following]
        moved = update(pilots).where(pilots.c.id == pilot_id, pilots.c.status.in_(before))
        values = {"status": status, "updated_at": at, "updated_by": by or pilot_id}
        return (await self.conn.execute(moved.values(values))).rowcount == 1
