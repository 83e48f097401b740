"""What the API answers; times are RFC 3339 in UTC."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from natsume.model.ledger import Row
from natsume.model.record import Failure
from natsume.model.status import Status
from natsume.model.task import State
from natsume.service.ledger import Page
from natsume.web.questions import next_of


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A task of a list."""

    id: str
    actor: str
    state: State
    lane: str | None
    owner: str | None
    tenant: str | None
    parent: str | None
    attempts: int
    submitted_at: datetime | None
    enqueued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    heartbeat_at: datetime | None
    due_at: datetime | None
    worker: str | None
    error: str | None
    reason: str | None
    labels: dict[str, str]
    cancel_requested: bool
    consumed: bool


class Tasks(msgspec.Struct, frozen=True):
    """A page, newest first; `next` is the `after` of the next page, null after the last."""

    tasks: list[Listed]
    next: str | None


class Attempted(msgspec.Struct, frozen=True):
    """A failed attempt."""

    attempt: int
    at: datetime | None
    error: str
    traceback: str


class Said(msgspec.Struct, frozen=True):
    """What somebody said of a task, or it itself."""

    author: str
    at: datetime | None
    text: str


class Progress(msgspec.Struct, frozen=True):
    """How far a task is: `done` of `total`, where it knows that."""

    done: float
    total: float | None
    message: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one task; `dead` is the reason of a dead letter, `cancel` who wished it ended."""

    id: str
    actor: str
    state: State
    lane: str | None
    owner: str | None
    tenant: str | None
    parent: str | None
    attempts: int
    submitted_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    heartbeat_at: datetime | None
    due_at: datetime | None
    waiting_for: str | None
    worker: str | None
    labels: dict[str, str]
    replay_of: str | None
    dead: str | None
    result: Any
    failures: list[Attempted]
    progress: Progress | None
    cancel: Said | None
    comments: list[Said]
    consumed: bool


class Cancelled(msgspec.Struct, frozen=True):
    """Whether this request set the flag."""

    cancelled: bool


class Replayed(msgspec.Struct, frozen=True):
    """The token of the replay."""

    token: str


class Refused(msgspec.Struct, frozen=True):
    """What is wrong, in one sentence."""

    error: str


def tasks_of(page: Page) -> Tasks:
    """The answer to a listing."""
    return Tasks([_listed(row) for row in page.tasks], next_of(page.next))


def _listed(row: Row) -> Listed:
    plain = {name: getattr(row, name) for name in Listed.__struct_fields__}
    times = {name: _moment(value) for name, value in plain.items() if name.endswith("_at")}
    labels = msgspec.json.decode(row.labels, type=dict[str, str]) if row.labels else {}
    return Listed(**plain | times | {"labels": labels})


def told(status: Status) -> Told:
    """The answer to a question for one task."""
    done, flag, progress = status.done, status.flag, status.progress
    failures = [_attempted(one.attempt, one.failed_at, one.failure) for one in status.failures]
    if done is not None and done.failure is not None:
        failures.append(_attempted(done.attempt, done.finished_at, done.failure))
    plain = ("id", "actor", "state", "owner", "tenant", "parent", "attempts", "waiting_for", "consumed")
    times = ("submitted_at", "started_at", "finished_at", "heartbeat_at", "due_at")
    same: dict[str, Any] = {name: getattr(status, name) for name in plain}
    moments: dict[str, Any] = {name: _moment(getattr(status, name)) for name in times}
    return Told(
        **same,
        **moments,
        lane=status.lane or None,
        worker=status.worker,
        labels=(done.labels or {}) if done else {},
        replay_of=done.replay_of if done else None,
        dead=str(done.letter.reason) if done and done.letter else None,
        result=done.result if done else None,
        failures=failures,
        progress=Progress(progress.done, progress.total, progress.message) if progress else None,
        cancel=Said(flag.who, _moment(flag.at), flag.why) if flag else None,
        comments=[Said(one.author, _moment(one.at), one.text) for one in status.comments],
    )


def _attempted(attempt: int, at: float, failure: Failure) -> Attempted:
    return Attempted(attempt, _moment(at), f"{failure.type}: {failure.message}", failure.traceback)


def _moment(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)
