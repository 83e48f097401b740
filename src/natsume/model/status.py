"""What is known of one task, put together from its records."""

from collections.abc import Sequence

import msgspec

from natsume.model.codec import decode
from natsume.model.record import Done, Failed, Started, Submitted
from natsume.model.subject import parse_ready
from natsume.model.task import State, Task


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task as `status()` and `tasks show` tell it; times are Unix seconds."""

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


def from_records(
    submitted: Submitted | None,
    started: Sequence[Started],
    failed: Sequence[Failed],
    done: Done | None,
    waiting: bool,
) -> Status | None:
    """The state of a task as its records tell it; None where there is no record at all.

    `waiting` says that a schedule of the task lies in the broker.
    """
    failures = tuple(sorted(failed, key=lambda record: record.attempt))
    if done is not None:
        return Status(
            done.id,
            done.actor,
            done.state,
            done.lane,
            done.attempt,
            done.owner,
            done.tenant,
            done.parent,
            done.submitted_at,
            done.started_at,
            done.finished_at,
            done=done,
            failures=failures,
        )
    latest = max(started, key=lambda record: record.attempt, default=None)
    last_failure = failures[-1] if failures else None
    known = submitted or latest or last_failure
    if known is None:
        return None
    failed_attempts = last_failure.attempt if last_failure else 0
    attempts = failed_attempts
    if latest is not None and latest.attempt > failed_attempts:
        attempts = latest.attempt
        state = State.WAITING if waiting else State.ENQUEUED if latest.ended else State.RUNNING
    else:
        state = State.WAITING if waiting or last_failure else State.ENQUEUED
    task = task_of(submitted) if submitted else None
    return Status(
        known.id,
        known.actor,
        state,
        lane=str(task.lane) if task else "",
        attempts=attempts,
        owner=task.owner if task else None,
        tenant=task.tenant if task else None,
        parent=task.parent if task else None,
        submitted_at=submitted.at if submitted else None,
        started_at=latest.at if latest else None,
        due_at=last_failure.next_at if last_failure and state is State.WAITING else None,
        failures=failures,
    )


def task_of(submitted: Submitted) -> Task:
    """The task as it was submitted."""
    lane, actor = parse_ready(submitted.subject)
    headers = b"NATS/1.0\r\n" + submitted.headers.encode() + b"\r\n"
    return decode(lane, actor, submitted.id, headers, submitted.body).task
