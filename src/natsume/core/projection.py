"""From records to rows: what the ledger learns from a batch of records, whatever their order and however often.

A row carries a step, one integer that orders what may be said of a task's state: an end is above all, then
the attempts in their order, in an attempt its failure above its starts, and of the starts the latest. So merging
is commutative, associative and idempotent: a record seen twice changes nothing, and no state goes back.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from natsume.core import ends, told
from natsume.core.join import Join
from natsume.core.said import Said, checked, fitted, labels_of, message_of, moment, reference, step, used_of
from natsume.model import codec, limits, subject
from natsume.model.ledger import EARLIEST, LARGEST, LATEST, Attempt, Comment, Row
from natsume.model.record import Failed, Started, Submitted
from natsume.model.task import State

_TOKENS: Final = 4

_failed = msgspec.json.Decoder(Failed)
_started = msgspec.json.Decoder(Started)
_submitted = msgspec.json.Decoder(Submitted)


class Changes(msgspec.Struct, frozen=True):
    """What a batch changes: at most one row per task, failed attempts, new joins; `unread` are places of the batch."""

    rows: list[Row]
    attempts: list[Attempt]
    unread: list[int]
    joins: list[Join] = []
    comments: list[Comment] = []


def project(records: Sequence[tuple[str, bytes]]) -> Changes:
    """The changes that records make, each given by its subject and body; kinds that are not known make none."""
    rows: dict[str, Row] = {}
    attempts: dict[tuple[str, int], Attempt] = {}
    joins: dict[str, Join] = {}
    comments: dict[tuple[str, str], Comment] = {}
    unread = []
    for place, (name, body) in enumerate(records):
        tokens = name.split(".")
        read = _READERS.get(tokens[1]) if len(tokens) == _TOKENS else None
        if read is None:
            continue
        try:
            said = read(tokens[3], body)
        except (msgspec.MsgspecError, ValueError, LookupError, RecursionError):
            unread.append(place)
            continue
        for row in said.rows:
            known = rows.get(row.id)
            rows[row.id] = row if known is None else merge(known, row)
        if (failed := said.attempt) is not None:
            key = (failed.task_id, failed.attempt)
            attempts[key] = max(attempts.get(key, failed), failed, key=lambda one: one.failed_at)
        joins.update((join.id, join) for join in said.joins)
        comments.update(((one.task_id, one.key), one) for one in said.comments)
    return Changes(list(rows.values()), list(attempts.values()), unread, list(joins.values()), list(comments.values()))


def merge(one: Row, other: Row) -> Row:
    """What both say of the same task."""
    low, high = (one, other) if one.step < other.step else (other, one)
    changed: dict[str, Any] = {}
    for name in LATEST:
        if getattr(high, name) is None and (value := getattr(low, name)) is not None:
            changed[name] = value
    for names, better in ((EARLIEST, min), (LARGEST, max)):
        for name in names:
            values = [value for value in (getattr(low, name), getattr(high, name)) if value is not None]
            if values:
                changed[name] = better(values)
    return replace(high, **changed)


def allocation(record: Submitted) -> Row:
    """A task whose submission is decided, and of which nothing was sent yet; raises ValueError."""
    return replace(_submission(record), state=State.ALLOCATED)


def _of_submitted(task_id: str, body: bytes) -> Said:
    return Said([_submission(checked(_submitted.decode(body), task_id))])


def _submission(record: Submitted) -> Row:
    lane, actor = subject.parse_ready(record.subject)
    headers = b"NATS/1.0\r\n" + record.headers.encode() + b"\r\n"
    task = codec.decode(lane, actor, record.id, headers, record.body).task
    at = moment(record.at)
    return Row(
        record.id,
        step(0, at),
        State.ENQUEUED if record.due is None else State.WAITING,
        fitted(record.actor),
        at,
        at,
        lane=str(lane),
        submitted_at=at,
        due_at=None if record.due is None else moment(record.due),
        tracked=True,
        owner=fitted(task.owner),
        tenant=fitted(task.tenant),
        parent=reference(task.parent),
        root=reference(task.root),
        join_id=reference(task.join),
        member=task.member,
        trace=task.trace,
        replay_of=reference(task.replay_of),
        labels=labels_of(task.labels),
        **message_of(record.subject, record.headers, record.body),
    )


def _of_started(task_id: str, body: bytes) -> Said:
    record = checked(_started.decode(body), task_id)
    at = moment(record.at)
    submitted_at = None if record.submitted_at is None else moment(record.submitted_at)
    row = Row(
        record.id,
        step(record.attempt, at, ended=record.ended),
        State.ENQUEUED if record.ended else State.RUNNING,
        fitted(record.actor),
        at if submitted_at is None else min(submitted_at, at),
        at,
        lane=record.lane or None,
        submitted_at=submitted_at,
        started_at=at,
        attempts=record.attempt,
        crashes=record.crashes,
        owner=fitted(record.owner),
        tenant=fitted(record.tenant),
        parent=reference(record.parent),
        root=reference(record.root),
        worker=fitted(record.worker),
    )
    return Said([row])


def _of_failed(task_id: str, body: bytes) -> Said:
    record = checked(_failed.decode(body), task_id)
    at, started_at, next_at = moment(record.failed_at), moment(record.started_at), moment(record.next_at)
    row = Row(
        record.id,
        step(record.attempt, at, failed=True),
        State.WAITING,
        fitted(record.actor),
        started_at,
        at,
        started_at=started_at,
        due_at=next_at,
        attempts=record.attempt,
        failures=record.attempt,
        worker=fitted(record.worker),
        **used_of(record.used),
    )
    failure = record.failure
    attempt = Attempt(
        record.id,
        record.attempt,
        failure.type[: limits.LEDGER_NAME_MAX],
        failure.message,
        failure.traceback,
        fitted(record.worker),
        started_at,
        at,
        next_at,
    )
    return Said([row], attempt)


_READERS: Final[dict[str, Callable[[str, bytes], Said]]] = {
    "submitted": _of_submitted,
    "started": _of_started,
    "failed": _of_failed,
    "done": ends.of_done,
    "settled": ends.of_settled,
    "progress": told.of_progress,
    "heartbeat": told.of_heartbeat,
    "comment": told.of_comment,
    "cancel": told.of_cancel,
}
