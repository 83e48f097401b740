"""The line of a lock: tasks that wait as schedules, each with a time at which it returns by itself."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from natsume.adapters.nats.direct import DirectReader, Stored
from natsume.adapters.nats.publish import WRONG_LAST_SEQUENCE, Publisher
from natsume.enums import Priority
from natsume.exceptions import BrokerError
from natsume.model import subject
from natsume.model.codec import due_time, task_headers, task_subject
from natsume.model.lock import Blocked, Mode, Waiter
from natsume.model.task import Task

RANKS: Final = tuple(f"{priority.value}{again}" for priority in Priority for again in ("-again", ""))
"""Most urgent first; who returned without having got its lock stands before who never was at its head."""

_MODES: Final = {mode.value for mode in Mode}
_FENCE: Final = "Nats-Expected-Last-Subject-Sequence: 0\r\nNats-Schedule: @at {}\r\nNats-Schedule-Target: {}\r\n"
_ASKED: Final = "Natsume-Lock-Key: {}\r\nNatsume-Lock: {}\r\nNatsume-Lock-Mode: {} {}\r\nNatsume-Lock-Behind: {}\r\n"
_WAKE: Final = (
    "Nats-Expected-Last-Subject-Sequence: {0}\r\nNats-Expected-Last-Subject-Sequence-Subject: {1}\r\n"
    "Nats-Scheduler: {1}\r\nNats-Schedule-Next: purge\r\n"
)


class Parked(msgspec.Struct, frozen=True):
    """A waiter and its message."""

    waiter: Waiter
    stored: Stored


class Line:
    """Parks tasks, finds who is first, and sends them back to their lanes."""

    def __init__(self, publisher: Publisher, tasks: DirectReader) -> None:
        self._publisher = publisher
        self._tasks = tasks

    async def park(self, task: Task, blocked: Blocked, until: float) -> None:
        """Store a task in a lock's line, unless its hop stands there already."""
        want = blocked.want
        name = subject.parked(want.key, rank(task), task.id, task.hop)
        head = _FENCE.format(due_time(until), task_subject(task))
        head += _ASKED.format(want.key, want.name, want.mode.value, want.permits, blocked.task)
        try:
            await self._publisher.publish(name.encode(), head.encode() + task_headers(task), task.body)
        except BrokerError as error:
            if error.code != WRONG_LAST_SEQUENCE:
                raise

    async def first(self, key: str, count: int) -> list[Parked]:
        """The first of a lock's line, at most `count` of each rank."""
        asked = (self._tasks.after(subject.parked_filter(key, one), 1, count) for one in RANKS)
        return [parked for found in await asyncio.gather(*asked) for parked in read(found)]

    async def page(self, key: str, after: int, count: int) -> list[Stored]:
        """What lies in a lock's line, in the order of its coming, from this sequence on."""
        return await self._tasks.after(subject.parked_filter(key), after, count)

    async def waits(self, key: str) -> bool:
        """Whether anybody stands in a lock's line."""
        return bool(await self._tasks.after(subject.parked_filter(key), 1, 1))

    async def send(self, parked: Parked) -> bool:
        """Send a waiter back to its lane now; False if it is on its way already."""
        stored, waiter = parked.stored, parked.waiter
        kept = "".join(f"{name}: {value}\r\n" for name, value in stored.headers.items() if _goes_on(name))
        head = _WAKE.format(waiter.sequence, waiter.subject) + kept
        try:
            await self._publisher.publish(stored.headers["Nats-Schedule-Target"].encode(), head.encode(), stored.body)
        except BrokerError as error:
            if error.code != WRONG_LAST_SEQUENCE:
                raise
            return False
        return True


def rank(task: Task) -> str:
    """The part of the line in which a task stands."""
    return f"{task.lane.priority.value}{'-again' if task.waits > 1 else ''}"


def read(found: Sequence[Stored]) -> list[Parked]:
    """What can be read of it; another program's schedule on these subjects is not ours to wake."""
    parked = []
    for stored in found:
        mode, _, permits = stored.headers.get("Natsume-Lock-Mode", "").partition(" ")
        tokens = stored.subject.split(".")
        if mode in _MODES and permits.isdigit() and "Nats-Schedule-Target" in stored.headers:
            waiter = Waiter(tokens[3], stored.subject, stored.sequence, Mode(mode), int(permits), _since(stored))
            parked.append(Parked(waiter, stored))
    return parked


def _since(stored: Stored) -> float:
    """Since when it waits; of one that says nothing readable, since when it lies there."""
    try:
        return datetime.fromisoformat(stored.headers["Natsume-Waiting-Since"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return datetime.fromisoformat(stored.at).timestamp()


def _goes_on(name: str) -> bool:
    return not name.startswith(("Nats-", "Natsume-Lock"))
