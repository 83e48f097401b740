"""What a service hands in, made into a task: checked whole before anything is sent."""

import os
from collections.abc import Mapping
from datetime import datetime, timedelta

from natsume.actors.registry import Actor
from natsume.exceptions import UsageError
from natsume.model import limits, times
from natsume.model.codec import clean, task_headers, task_subject
from natsume.model.labels import checked_labels
from natsume.model.record import Submitted
from natsume.model.subject import is_id
from natsume.model.task import Task


def message_of(
    actor: Actor,
    task: object,
    now: float,
    *,
    task_id: str | None = None,
    owner: str | None = None,
    tenant: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Task:
    """The task as it travels, with an id of 128 random bits unless it has its own; raises UsageError."""
    if task_id is not None:
        _check_id(task_id)
    check_whose(actor.name, owner, tenant)
    return Task(
        task_id or os.urandom(16).hex(),
        actor.name,
        actor.lane,
        actor.arguments.check(task),
        submitted_at=now,
        owner=owner,
        tenant=tenant,
        labels=checked_labels(labels),
        rights=actor.rights,
    )


def check_whose(what: str, owner: object, tenant: object) -> None:
    """Raise UsageError unless what is submitted may belong to these; None is nobody."""
    for value, name in ((owner, "owner"), (tenant, "tenant")):
        if value is None:
            continue
        if not isinstance(value, str) or not value:
            raise UsageError(f"{what}: {name}={value!r} cannot be; give a name, or None for nobody")
        try:
            clean(value, name)
        except ValueError as error:
            raise UsageError(f"{what}: {error}") from None


def submitted_of(task: Task, at: float, due: float | None = None) -> Submitted:
    """The record of a tracked submission: the whole message, to be sent again if it is lost."""
    return Submitted(task.id, task.actor, at, task_subject(task), task_headers(task).decode(), task.body, due)


def due_at(now: float, at: datetime | None, delay: float | timedelta | None) -> float | None:
    """When a submission is due, in Unix seconds; None for at once."""
    if at is not None and delay is not None:
        raise UsageError("a task is submitted either `at` a time or after a `delay`, not both")
    if at is not None:
        if not isinstance(at, datetime):
            raise UsageError(f"`at` is a datetime with a time zone, such as datetime.now(UTC), not {at!r}")
        if at.tzinfo is None:
            raise UsageError("`at` needs a time zone, such as datetime.now(UTC)")
        return at.timestamp()
    if delay is None:
        return None
    if isinstance(delay, bool) or not isinstance(delay, int | float | timedelta):
        raise UsageError(f"a delay is a number of seconds or a timedelta, not {delay!r}")
    delay_s = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    if not 0 <= delay_s <= times.DELAY_MAX_S:
        raise UsageError(f"a delay of {delay_s:g} s cannot be; use 0 to {times.DELAY_MAX_S:g} s")
    return now + delay_s


def _check_id(task_id: object) -> None:
    if not isinstance(task_id, str) or not is_id(task_id) or len(task_id) > limits.ID_MAX:
        raise UsageError(
            f"{task_id!r} cannot be a task's id: use 1 to {limits.ID_MAX} letters, digits, '-', '_' or '='"
        )
