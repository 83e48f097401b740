"""Writes the submitted records of tracked tasks, before they are sent: then they can be found, and sent again."""

import asyncio
from collections.abc import Iterable

from natsume.model import limits
from natsume.model.task import Task
from natsume.ports import Outgoing
from natsume.service.insist import insist
from natsume.service.submission import submitted_of


async def track(outgoing: Outgoing, tasks: Iterable[Task], at: float, due: float | None = None) -> None:
    """Write the records of those tasks that are tracked; raises the first BrokerError when all are dealt with."""
    gate = asyncio.Semaphore(limits.TRACK_AT_ONCE)

    async def write(task: Task) -> None:
        record = submitted_of(task, at, due)
        async with gate:
            await insist(lambda _: outgoing.record(record))

    tracked = [task for task in tasks if task.tracked]
    for error in await asyncio.gather(*map(write, tracked), return_exceptions=True):
        if error is not None:
            raise error
