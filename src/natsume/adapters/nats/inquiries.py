"""Questions about one task, answered by the broker's records (port Inquiries)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from natsume.adapters.nats.direct import DirectReader, Stored
from natsume.adapters.nats.waiting import names_of, task_of
from natsume.adapters.nats.wire import Wire
from natsume.model import limits, status, subject
from natsume.model.record import Done, Failed, Started, Submitted
from natsume.model.status import Status
from natsume.model.told import Commented, Flag, Heartbeat, Progressed, Released

_PAGE: Final = 200
_LOOK_AGAIN_S: Final = 2.0
_STORED_WITHIN_S: Final = 0.005
_STORED_WITHIN: Final = (0.005, 0.02, 0.1)
_FOLLOW_AGAIN_S: Final = 10.0
_KINDS: Final = (
    "submitted",
    "started",
    "failed",
    "released",
    "done",
    "progress",
    "heartbeat",
    "cancel",
)
T = TypeVar("T")


class StreamInquiries:
    """Reads RECORDS and the schedules in TASKS."""

    def __init__(self, wire: Wire, records: DirectReader, tasks: DirectReader) -> None:
        self._wire = wire
        self._records = records
        self._tasks = tasks

    async def status(self, task_id: str) -> Status | None:
        """What the records say of a task, or None."""
        # First, for what ends a task that waits removes its schedule after the commit.
        waiting = await self._tasks.last(names_of(task_id))
        found, comments = await asyncio.gather(
            self._records.last([f"record.{kind}.*.{task_id}" for kind in _KINDS]),
            self._records.after(subject.comment("*", task_id), 1, limits.COMMENTS_MAX),
        )
        done = _of(found, "done", Done)
        submitted = _of(found, "submitted", Submitted)
        return status.from_records(
            submitted[0] if submitted else None,
            _of(found, "started", Started),
            _of(found, "failed", Failed),
            done[0] if done else None,
            max(filter(None, map(waits_of, waiting)), key=lambda one: one.task.hop, default=None),
            _of(found, "released", Released),
            status.Said(
                next(iter(_of(found, "progress", Progressed)), None),
                next(iter(_of(found, "heartbeat", Heartbeat)), None),
                next(iter(_of(found, "cancel", Flag)), None),
                _of(comments, "comment", Commented),
            ),
        )

    async def ends(self, task_ids: Sequence[str]) -> dict[str, Done]:
        """The done records that stand among those of these tasks, by id."""
        ends: dict[str, Done] = {}
        for at in range(0, len(task_ids), _PAGE):
            found = await self._records.last([subject.done_fence(one) for one in task_ids[at : at + _PAGE]])
            ends.update((done.id, done) for done in _of(found, "done", Done))
        return ends

    async def follow(self, task_id: str) -> AsyncIterator[Status | None]:
        """What the records say of a task now, and again whenever they say something else, until it has ended."""
        changed = asyncio.Event()
        routes = [
            self._wire.listen(one, lambda *_: changed.set()) for one in (subject.all_of(task_id), *names_of(task_id))
        ]
        self._wire.on_restored.append(changed.set)
        seen, pauses = b"", iter(_STORED_WITHIN)
        try:
            while True:
                found = await self.status(task_id)
                text = msgspec.json.encode(found)
                if text != seen:
                    yield found
                if found is not None and found.done is not None:
                    return
                seen = text
                try:
                    async with asyncio.timeout(next(pauses, _FOLLOW_AGAIN_S)):
                        await changed.wait()
                except TimeoutError:
                    continue
                # A subscriber may see a record a moment before the stream has stored it.
                changed.clear()
                pauses = iter(_STORED_WITHIN)
        finally:
            self._wire.on_restored.remove(changed.set)
            for route in routes:
                self._wire.unlisten(route)

    async def ended(self, task_id: str) -> Done:
        """The done record of a task; told by the write itself, looked for now and then besides."""
        written = asyncio.Event()
        fence = subject.done_fence(task_id)
        route = self._wire.listen(fence, lambda *_: written.set())
        # It may have been passed on before this listened, and be stored only after the first look.
        pause_s = _STORED_WITHIN_S
        try:
            while True:
                found = await self._records.last([fence])
                if found:
                    return msgspec.json.decode(found[0].body, type=Done)
                try:
                    async with asyncio.timeout(pause_s):
                        await written.wait()
                except TimeoutError:
                    pause_s = min(4 * pause_s, _LOOK_AGAIN_S)
                else:
                    # A subscriber may see the record a moment before the stream has stored it.
                    written.clear()
                    pause_s = _STORED_WITHIN_S
        finally:
            self._wire.unlisten(route)


def waits_of(stored: Stored) -> status.Waits | None:
    """What a schedule of a task tells of it, as it was written; None of one that leads to no lane."""
    task, given = task_of(stored), stored.headers
    if task is None:
        return None
    since = task.waiting_since or datetime.fromisoformat(stored.at).timestamp()
    due = given.get("Nats-Schedule", "").removeprefix("@at ")
    due_at = datetime.fromisoformat(due).timestamp() if due else None
    if not stored.subject.startswith("parked."):
        return status.Waits(task, due_at)
    return status.Waits(task, due_at, given.get("Natsume-Lock"), since, given.get("Natsume-Lock-Behind"))


def _of(found: list[Stored], kind: str, record: type[T]) -> list[T]:
    prefix = f"record.{kind}."
    return [msgspec.json.decode(one.body, type=record) for one in found if one.subject.startswith(prefix)]
