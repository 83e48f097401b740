"""Questions about one task, answered by the broker's records (port Inquiries)."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from natsume.adapters.nats.direct import DirectReader, Stored
from natsume.adapters.nats.wire import Wire
from natsume.model import status, subject
from natsume.model.record import Done, Failed, Released, Started, Submitted

_PAGE: Final = 200
_LOOK_AGAIN_S: Final = 2.0
_STORED_WITHIN_S: Final = 0.005
T = TypeVar("T")


class StreamInquiries:
    """Reads RECORDS and the schedules in TASKS."""

    def __init__(self, wire: Wire, records: DirectReader, tasks: DirectReader) -> None:
        self._wire = wire
        self._records = records
        self._tasks = tasks

    async def status(self, task_id: str) -> status.Status | None:
        """What the records say of a task, or None."""
        kinds = ("submitted", "started", "failed", "released", "done")
        found = await self._records.last([f"record.{kind}.*.{task_id}" for kind in kinds])
        waiting = await self._tasks.last([f"later.{task_id}.*", f"parked.*.*.{task_id}.*"])
        done = _of(found, "done", Done)
        submitted = _of(found, "submitted", Submitted)
        return status.from_records(
            submitted[0] if submitted else None,
            _of(found, "started", Started),
            _of(found, "failed", Failed),
            done[0] if done else None,
            max(filter(None, map(_waits, waiting)), key=lambda one: one.task.hop, default=None),
            _of(found, "released", Released),
        )

    async def ends(self, task_ids: Sequence[str]) -> dict[str, Done]:
        """The done records that stand among those of these tasks, by id."""
        ends: dict[str, Done] = {}
        for at in range(0, len(task_ids), _PAGE):
            found = await self._records.last([subject.done_fence(one) for one in task_ids[at : at + _PAGE]])
            ends.update((done.id, done) for done in _of(found, "done", Done))
        return ends

    async def ended(self, task_id: str) -> Done:
        """The done record of a task; told by the write itself, looked for now and then besides."""
        written = asyncio.Event()
        fence = subject.done_fence(task_id)
        route = self._wire.listen(fence, lambda *_: written.set())
        pause_s = _LOOK_AGAIN_S
        try:
            while True:
                found = await self._records.last([fence])
                if found:
                    return msgspec.json.decode(found[0].body, type=Done)
                try:
                    async with asyncio.timeout(pause_s):
                        await written.wait()
                except TimeoutError:
                    pause_s = min(2 * pause_s, _LOOK_AGAIN_S)
                else:
                    # A subscriber may see the record a moment before the stream has stored it.
                    written.clear()
                    pause_s = _STORED_WITHIN_S
        finally:
            self._wire.unlisten(route)


def _waits(stored: Stored) -> status.Waits | None:
    """What a schedule of a task tells of it, as it was written; None of one that leads to no lane."""
    target, given = stored.headers.get("Nats-Schedule-Target", ""), stored.headers
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if not name.startswith("Nats-"))
    kind, *tokens = stored.subject.split(".")
    try:
        task = status.message(tokens[2] if kind == "parked" else tokens[0], target, lines, stored.body)
    except (KeyError, IndexError):
        return None
    since = task.waiting_since or datetime.fromisoformat(stored.at).timestamp()
    due = given.get("Nats-Schedule", "").removeprefix("@at ")
    due_at = datetime.fromisoformat(due).timestamp() if due else None
    if kind != "parked":
        return status.Waits(task, due_at)
    return status.Waits(task, due_at, given.get("Natsume-Lock"), since, given.get("Natsume-Lock-Behind"))


def _of(found: list[Stored], kind: str, record: type[T]) -> list[T]:
    prefix = f"record.{kind}."
    return [msgspec.json.decode(one.body, type=record) for one in found if one.subject.startswith(prefix)]
