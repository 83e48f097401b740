"""Collects the facts of the end: records by direct gets, rows by SQL."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import select

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.direct import DirectReader, Stored
from natsume.model import subject
from natsume.model.record import Done
from natsume_examples.demo.plan import Planned
from natsume_examples.demo.verdict import Facts
from natsume_examples.owners import db as owners
from natsume_examples.pilots import db as pilots
from natsume_examples.pilots.logic import Status

_AT_ONCE: Final = 64


async def collect(broker: Broker, submitted: Mapping[str, Planned]) -> Facts:
    """What the broker and the tables say of the submitted ids, and of any others that are there."""
    reader = DirectReader(broker.wire, subject.RECORDS)
    try:
        done = await _last(reader, [subject.done_fence(task_id) for task_id in submitted])
    finally:
        reader.close()
    info = await broker.stream_info(subject.RECORDS, subjects_filter="record.done.>")
    counts: dict[str, int] = info["state"].get("subjects") or {}
    return Facts(
        submitted=dict(submitted),
        done=[msgspec.json.decode(one.body, type=Done) for one in done],
        done_ids=[name.rpartition(".")[2] for name, count in counts.items() for _ in range(count)],
        syncs=await _syncs(),
        pilots=await _pilots(),
    )


async def _last(reader: DirectReader, subjects: Sequence[str]) -> list[Stored]:
    chunks = [subjects[first : first + _AT_ONCE] for first in range(0, len(subjects), _AT_ONCE)]
    return [stored for chunk in chunks for stored in await reader.last(chunk)]


async def _syncs() -> frozenset[str]:
    async with owners.OwnersDB.transaction() as db:
        return frozenset(await db.conn.scalars(select(owners.syncs.c.task_id)))


async def _pilots() -> dict[str, tuple[str, Status]]:
    columns = (pilots.pilots.c.id, pilots.pilots.c.ce_name, pilots.pilots.c.status)
    async with pilots.PilotsDB.transaction() as db:
        rows = await db.conn.execute(select(*columns))
        return {pilot_id: (name, Status(status)) for pilot_id, name, status in rows}
