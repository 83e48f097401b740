"""Tasks on their way into TASKS: now, or as a schedule that the server keeps (port Outgoing)."""

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec

from natsume.adapters.nats.publish import WRONG_LAST_SEQUENCE, Outcome, Publisher
from natsume.exceptions import BrokerError
from natsume.model import limits, subject
from natsume.model.codec import due_time, task_headers, task_subject
from natsume.model.record import Submitted
from natsume.model.task import Task

_FENCE: Final = b"Nats-Expected-Last-Subject-Sequence: 0\r\n"
_SCHEDULE: Final = b"Nats-Schedule: @at %b\r\nNats-Schedule-Target: %b\r\n"


class StreamOutgoing:
    """Stores tasks in the TASKS stream."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def submit(self, task: Task, *, resent: bool = False) -> bool:
        """Store a task on its lane; False if the broker knew its id already."""
        subject, headers = _ready(task, resent)
        return await self._publisher.publish(subject, headers, task.body) > 0

    async def submit_many(self, tasks: Iterable[Task], *, resent: bool = False) -> None:
        """Store many tasks, pipelined; raises the first BrokerError, and then any of them may be stored."""
        batch = _Batch()
        publisher = self._publisher
        for task in tasks:
            subject, headers = _ready(task, resent)
            batch.sent += 1
            publisher.post(subject, headers, task.body, batch.tell)
            if publisher.in_flight >= limits.IN_FLIGHT_MAX:
                await batch.until(limits.IN_FLIGHT_MAX // 2)
        await batch.until(0)

    async def arm(self, task: Task, at: float) -> None:
        """Store a task as a schedule of its hop; one that lies there already is as good."""
        due = _SCHEDULE % (due_time(at).encode(), task_subject(task).encode())
        # Firing purges what lies on the subject, so a schedule is never put over another.
        headers = _FENCE + due + task_headers(task)
        await self._unless_there(subject.later(task.id, task.hop), headers, task.body)

    async def record(self, submitted: Submitted) -> None:
        """Write the record of a tracked submission, unless it stands."""
        name = subject.submitted(submitted.id)
        await self._unless_there(name, _FENCE, msgspec.json.encode(submitted))

    async def _unless_there(self, name: str, headers: bytes, body: bytes) -> None:
        try:
            await self._publisher.publish(name.encode(), headers, body)
        except BrokerError as error:
            if error.code != WRONG_LAST_SEQUENCE:
                raise


def _ready(task: Task, resent: bool) -> tuple[bytes, bytes]:
    """Subject and headers. The message id saves a copy where the server remembers it, and proves nothing."""
    message_id = f"{task.id}.{task.hop}" if task.hop else task.id
    headers = b"Nats-Msg-Id: %b\r\n%b" % (message_id.encode(), task_headers(task, resent=resent))
    return task_subject(task).encode(), headers


class _Batch:
    """Counts the acknowledgements of many publishes."""

    def __init__(self) -> None:
        self.sent = 0
        self._told = 0
        self._error: BrokerError | None = None
        self._changed = asyncio.Event()
        self._wake_at = -1

    def tell(self, _number: int, outcome: Outcome) -> None:
        """Take one outcome."""
        self._told += 1
        if not isinstance(outcome, int):
            self._error = self._error or outcome
        if self._error is not None or self.sent - self._told <= self._wake_at:
            self._changed.set()

    async def until(self, open_max: int) -> None:
        """Wait until at most so many are open; raises what went wrong."""
        self._wake_at = open_max
        while self.sent - self._told > open_max and self._error is None:
            self._changed.clear()
            await self._changed.wait()
        if self._error is not None:
            raise self._error
