"""Schedules in TASKS, and what is kept of them in the bucket `config` (ports Schedules and Ticks)."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from natsume.adapters.nats.direct import DirectReader, Stored
from natsume.adapters.nats.publish import WRONG_LAST_SEQUENCE, Publisher
from natsume.adapters.nats.request import Request
from natsume.exceptions import BrokerError, UsageError
from natsume.model.codec import due_time
from natsume.model.subject import TASKS, kv
from natsume.model.tick import Entry, Mark, Present, Ran, parse_subject
from natsume.model.times import START_TTL_S
from natsume.schedules import parse

BUCKET: Final = "config"
_PAGE: Final = 500
_FENCE: Final = "Nats-Expected-Last-Subject-Sequence: {}\r\n"
RAN: Final = "ran."
RAN_TTL: Final = b"Nats-TTL: %ds\r\n" % START_TTL_S
_DELETE: Final = f"$JS.API.STREAM.MSG.DELETE.{TASKS}"
T = TypeVar("T")
_log = logging.getLogger(__name__)
_NAMES: Final = f"$JS.API.STREAM.INFO.{TASKS}"


class StreamSchedules:
    """The schedules of one broker."""

    def __init__(self, publisher: Publisher, tasks: DirectReader, marks: DirectReader, request: Request) -> None:
        self._publisher = publisher
        self._tasks = tasks
        self._marks = marks
        self._request = request

    async def present(self) -> list[Present]:
        """All schedules that repeat or wait for an occurrence, also those that are not ours."""
        names: list[str] = []
        while True:
            query = msgspec.json.encode({"subjects_filter": "cron.>", "offset": len(names)})
            state = msgspec.json.decode(await self._request(_NAMES, query)).get("state", {})
            page = list(state.get("subjects") or ())
            names += page
            if not page or len(names) >= state.get("num_subjects", 0):
                break
        found: list[Present] = []
        for at in range(0, len(names), _PAGE):
            found += map(_present, await self._tasks.last(names[at : at + _PAGE]))
        return found

    async def put(self, entry: Entry, expected: int) -> bool:
        """Store a schedule if the last one on its subject is still this, 0 for none; whether it is stored."""
        try:
            await self._publisher.publish(entry.subject.encode(), _headers(entry, expected), entry.body)
        except BrokerError as error:
            if error.code != WRONG_LAST_SEQUENCE:
                raise
            return False
        return True

    async def remove(self, present: Present) -> bool:
        """Remove the very schedule that was seen; False if another is in its place."""
        answer = await self._request(_DELETE, b'{"seq":%d,"no_erase":true}' % present.sequence)
        return b'"success":true' in answer.replace(b" ", b"")

    async def marks(self, keys: Sequence[str]) -> dict[str, Mark]:
        """What is kept of these schedules, by their ids."""
        return await self._kept("schedule.", keys, Mark)

    async def mark(self, schedule: str, mark: Mark) -> None:
        """Keep this of a schedule."""
        await self._publisher.publish(kv(BUCKET, f"schedule.{schedule}").encode(), b"", msgspec.json.encode(mark))

    async def ran(self, keys: Sequence[str]) -> dict[str, Ran]:
        """The latest starts of these schedules, by their ids."""
        return await self._kept(RAN, keys, Ran)

    async def started(self, schedule: str, ran: Ran) -> None:
        """Keep the start of a schedule's tick."""
        await self._publisher.publish(kv(BUCKET, RAN + schedule).encode(), RAN_TTL, msgspec.json.encode(ran))

    async def _kept(self, prefix: str, keys: Sequence[str], kind: type[T]) -> dict[str, T]:
        prefix, found = kv(BUCKET, prefix), {}
        for at in range(0, len(keys), _PAGE):
            for one in await self._marks.last([prefix + key for key in keys[at : at + _PAGE]]):
                try:
                    found[one.subject.removeprefix(prefix)] = msgspec.json.decode(one.body, type=kind)
                except msgspec.MsgspecError as error:
                    if one.body:
                        _log.warning("%s cannot be read and counts for nothing: %s", one.subject, error)
        return found


def _headers(entry: Entry, expected: int) -> bytes:
    """The header lines: what the server reads of a schedule, and what it passes on to the ticks."""
    schedule = parse(entry.text)
    expression = schedule.server_text
    if entry.due is not None:
        expression = f"@at {due_time(entry.due.timestamp())}"
    assert expression is not None, f"{entry.key.name} is armed for one occurrence at a time"
    head = _FENCE.format(expected) + f"Nats-Schedule: {expression}\r\nNats-Schedule-Target: {entry.target}\r\n"
    if entry.due is None and schedule.server_zone is not None:
        head += f"Nats-Schedule-Time-Zone: {schedule.server_zone}\r\n"
    if entry.key.vo is not None:
        head += f"Natsume-Tenant: {entry.key.vo}\r\n"
    head += f"Natsume-Schema: 1\r\nNatsume-Schedule: {entry.text}\r\nNatsume-Generation: {entry.generation!r}\r\n"
    if entry.configured:
        head += f"Natsume-Configured: {entry.configured!r}\r\n"
    return head.encode()


def _present(stored: Stored) -> Present:
    at = datetime.fromisoformat(stored.at).timestamp() if stored.at else 0.0
    return Present(stored.subject, stored.sequence, at, _entry(stored))


def _entry(stored: Stored) -> Entry | None:
    """The schedule in a message; None if it is not as we write it."""
    text, target = stored.headers.get("Natsume-Schedule"), stored.headers.get("Nats-Schedule-Target")
    if not text or not target:
        return None
    try:
        key, due = parse_subject(stored.subject)
        parse(text)
        generation = float(stored.headers.get("Natsume-Generation", 0))
        configured = float(stored.headers.get("Natsume-Configured", 0))
    except (ValueError, UsageError):
        return None
    return Entry(key, text, target, stored.body, generation, due, configured)
