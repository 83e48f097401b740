"""What is known of one task, put together from its records."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from natsume.model.codec import decode, task_headers
from natsume.model.record import Done, Failed, Started, Submitted
from natsume.model.subject import parse_ready
from natsume.model.task import State, Task
from natsume.model.told import CANCELLED_COMMENT, Commented, Flag, Heartbeat, Progress, Progressed, Released


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task as `status()` and `tasks show` tell it; times are Unix seconds.

    `headers` are those of its message, where that is known; `consumed` says that its owner has seen its end.
    """

    id: str
    actor: str
    state: State
    lane: str = ""
    attempts: int = 0
    owner: str | None = None
    tenant: str | None = None
    parent: str | None = None
    submitted_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    due_at: float | None = None
    done: Done | None = None
    failures: tuple[Failed, ...] = ()
    waiting_for: str | None = None
    waiting_since: float | None = None
    behind: str | None = None
    released: tuple[Released, ...] = ()
    progress: Progress | None = None
    heartbeat_at: float | None = None
    flag: Flag | None = None
    comments: tuple[Commented, ...] = ()
    headers: str | None = None
    consumed: bool = False
    worker: str | None = None


class Said(msgspec.Struct, frozen=True):
    """What was said of a task beside its course."""

    progress: Progressed | None = None
    heartbeat: Heartbeat | None = None
    flag: Flag | None = None
    comments: Sequence[Commented] = ()


class Waits(msgspec.Struct, frozen=True):
    """A schedule of a task in the broker: when it returns by itself, and the lock that it waits for, if it does."""

    task: Task
    due_at: float | None
    lock: str | None = None
    since: float | None = None
    behind: str | None = None


def from_records(
    submitted: Submitted | None,
    started: Sequence[Started],
    failed: Sequence[Failed],
    done: Done | None,
    waits: Waits | None,
    released: Sequence[Released] = (),
    said: Said = Said(),  # noqa: B008 - a frozen value
) -> Status | None:
    """The state of a task as its records and its schedule in the broker tell it; None where there is neither."""
    known = _course(submitted, started, failed, done, waits, released)
    if known is None:
        return None
    beats = [record.at for record in (said.progress, said.heartbeat) if record is not None]
    progress = said.progress.progress if said.progress else None
    return replace(
        known,
        progress=(done.progress if done else None) or progress,
        heartbeat_at=max(beats, default=None),
        flag=said.flag,
        comments=tuple(sorted((*said.comments, *_last_words(done)), key=lambda comment: comment.at)),
    )


def _last_words(done: Done | None) -> Sequence[Commented]:
    """What a task said when it gave up, as the ledger keeps it."""
    if done is None or not done.comment:
        return ()
    return (Commented(done.id, CANCELLED_COMMENT, done.actor, done.finished_at, done.comment),)


def _course(
    submitted: Submitted | None,
    started: Sequence[Started],
    failed: Sequence[Failed],
    done: Done | None,
    waits: Waits | None,
    released: Sequence[Released],
) -> Status | None:
    failures = tuple(sorted(failed, key=lambda record: record.attempt))
    if done is not None:
        return _ended(done, submitted, failures, released)
    latest = max(started, key=lambda record: record.attempt, default=None)
    last_failure = failures[-1] if failures else None
    task = task_of(submitted) if submitted else waits.task if waits else None
    known = submitted or latest or last_failure or task
    if known is None:
        return None
    whose = task or latest  # of a task that nobody tracks, its start alone may tell
    failed_attempts = last_failure.attempt if last_failure else 0
    attempts = failed_attempts
    if latest is not None and latest.attempt > failed_attempts:
        attempts = latest.attempt
        state = State.WAITING if waits else State.ENQUEUED if latest.ended else State.RUNNING
    else:
        state = State.WAITING if waits or last_failure else State.ENQUEUED
    return Status(
        known.id,
        known.actor,
        state,
        lane=str(whose.lane) if whose else "",
        attempts=attempts,
        owner=whose.owner if whose else None,
        tenant=whose.tenant if whose else None,
        parent=whose.parent if whose else None,
        submitted_at=submitted.at if submitted else whose.submitted_at if whose else None,
        started_at=latest.at if latest else None,
        due_at=last_failure.next_at if last_failure and state is State.WAITING else waits.due_at if waits else None,
        failures=failures,
        waiting_for=waits.lock if waits else None,
        waiting_since=waits.since if waits else None,
        behind=(waits.behind or None) if waits else None,
        released=tuple(released),
        headers=submitted.headers if submitted else task_headers(task).decode() if task else None,
        worker=latest.worker if latest else last_failure.worker if last_failure else None,
    )


def _ended(
    done: Done, submitted: Submitted | None, failures: tuple[Failed, ...], released: Sequence[Released]
) -> Status:
    return Status(
        done.id,
        done.actor,
        done.state,
        done.lane,
        done.attempts,
        done.owner,
        done.tenant,
        done.parent,
        done.submitted_at,
        done.started_at if done.ran else None,
        done.finished_at,
        done=done,
        failures=failures,
        released=tuple(released),
        headers=done.letter.headers if done.letter else submitted.headers if submitted else None,
        worker=done.worker or None,
    )


def task_of(submitted: Submitted) -> Task:
    """The task as it was submitted."""
    return message(submitted.id, submitted.subject, submitted.headers, submitted.body)


def message(task_id: str, subject: str, headers: str, body: bytes) -> Task:
    """The task of a message on a lane, of which `headers` are the lines."""
    lane, actor = parse_ready(subject)
    return decode(lane, actor, task_id, b"NATS/1.0\r\n" + headers.encode() + b"\r\n", body).task
