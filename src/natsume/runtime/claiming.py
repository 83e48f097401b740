"""Submits unique tasks whose ids are derived, of children and of events: claimed, or ended as duplicates.

Any number may do it for one task, any number of times: its id is the nonce of its claim, a claim that outlived its
task is given up, and a task that was taken in once is not called a duplicate later.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from natsume.core import outcome
from natsume.core.reaction import Due
from natsume.model.task import ENDED, Task
from natsume.ports import Inquiries, Outgoing, Records
from natsume.service.submission import submitted_of
from natsume.service.unique import Uniqueness

_AT_ONCE: Final = 64


class Claiming:
    """What a conductor does for unique tasks."""

    def __init__(
        self,
        uniqueness: Uniqueness,
        inquiries: Inquiries,
        outgoing: Outgoing,
        records: Records,
        now: Callable[[], float],
        worker: str,
    ) -> None:
        self._uniqueness = uniqueness
        self._inquiries = inquiries
        self._outgoing = outgoing
        self._records = records
        self._now = now
        self._worker = worker

    async def submit(self, tasks: Sequence[Due]) -> None:
        """Take each in or end it as a duplicate; raises the first error when all are dealt with."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(due: Due) -> None:
            async with gate:
                await self._submit(due)

        outcomes = await asyncio.gather(*(one(due) for due in tasks), return_exceptions=True)
        for error in outcomes:
            if error is not None:
                raise error

    async def _submit(self, due: Due) -> None:
        assert due.place is not None
        task, holder = await self._uniqueness.claim(
            due.task, due.at, due.place, self._now(), nonce=due.task.id, repeated=True
        )
        if holder == task.id:
            return
        if holder is not None and await self._is_duplicate(due.task, holder):
            return
        await self._outgoing.record(submitted_of(task, self._now(), due.at))
        if due.at is None:
            await self._outgoing.submit(task, resent=True)
        else:
            await self._outgoing.arm(task, due.at)

    async def _is_duplicate(self, task: Task, holder: str) -> bool:
        """Whether it is none of those that were taken in before; then its end stands."""
        known = await self._inquiries.status(task.id)
        if known is not None:
            return known.state in ENDED
        record = outcome.duplicate(task, self._worker, holder, self._now())
        await self._records.commit(record)
        return True
