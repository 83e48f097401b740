"""What is known of one task, put together from its records."""

from collections.abc import Sequence

import msgspec

from natsume.model.record import Done, Failed, Started, Submitted
from natsume.model.task import State


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
    if latest is not None and latest.attempt > failed_attempts:
        state, attempts = State.RUNNING, latest.attempt
    else:
        state = State.WAITING if waiting or last_failure else State.ENQUEUED
        attempts = failed_attempts
    return Status(
        known.id,
        known.actor,
        state,
        attempts=attempts,
        submitted_at=submitted.at if submitted else None,
        started_at=latest.at if latest else None,
        due_at=last_failure.next_at if last_failure and state is State.WAITING else None,
        failures=failures,
    )
