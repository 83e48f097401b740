"""From records to rows: what the ledger learns from a batch of records, whatever their order and however often.

A row carries a step, one integer that orders what may be said of a task's state: an end is above all, then
the attempts in their order, in an attempt its failure above its starts, and of the starts the latest. So merging
is commutative, associative and idempotent: a record seen twice changes nothing, and no state goes back.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from natsume.core import told
from natsume.core.join import Join
from natsume.core.reaction import joins_of
from natsume.core.said import Said, checked, fitted, moment, step
from natsume.model import codec, limits, subject
from natsume.model.ledger import EARLIEST, LARGEST, LATEST, Attempt, Comment, Row
from natsume.model.record import Child, Done, Failed, Settled, Started, Submitted, Used
from natsume.model.task import State

_END: Final = 1 << 62
_SETTLED: Final = _END - 1
"""Only what has ended is settled; what its end says of it stands above."""
_TOKENS: Final = 4

_done = msgspec.json.Decoder(Done)
_failed = msgspec.json.Decoder(Failed)
_started = msgspec.json.Decoder(Started)
_submitted = msgspec.json.Decoder(Submitted)
_settled = msgspec.json.Decoder(Settled)


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


def _of_submitted(task_id: str, body: bytes) -> Said:
    record = checked(_submitted.decode(body), task_id)
    lane, actor = subject.parse_ready(record.subject)
    headers = b"NATS/1.0\r\n" + record.headers.encode() + b"\r\n"
    task = codec.decode(lane, actor, record.id, headers, record.body).task
    at = moment(record.at)
    row = Row(
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
        parent=_reference(task.parent),
        root=_reference(task.root),
        join_id=_reference(task.join),
        member=task.member,
        trace=task.trace,
        replay_of=_reference(task.replay_of),
        labels=_labels(task.labels),
        **_message(record.subject, record.headers, record.body),
    )
    return Said([row])


def _of_started(task_id: str, body: bytes) -> Said:
    record = checked(_started.decode(body), task_id)
    at = moment(record.at)
    row = Row(
        record.id,
        step(record.attempt, at, ended=record.ended),
        State.ENQUEUED if record.ended else State.RUNNING,
        fitted(record.actor),
        at,
        at,
        started_at=at,
        attempts=record.attempt,
        crashes=record.crashes,
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
        **_used(record.used),
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


def _of_done(task_id: str, body: bytes) -> Said:
    record = checked(_done.decode(body), task_id)
    if record.state not in _ENDS:
        raise ValueError(f"{record.state} is no end")
    failure, letter = record.failure, record.letter
    started_at, finished_at = moment(record.started_at), moment(record.finished_at)
    submitted_at = None if record.submitted_at is None else moment(record.submitted_at)
    result = bytes(record.result).decode()
    row = Row(
        record.id,
        _END,
        record.state,
        fitted(record.actor),
        started_at if submitted_at is None else min(submitted_at, started_at),
        finished_at,
        lane=record.lane or None,
        submitted_at=submitted_at,
        started_at=started_at,
        finished_at=finished_at,
        attempts=record.attempt,
        failures=record.attempt if failure else record.attempt - 1,
        waits=record.waits,
        crashes=record.crashes,
        tracked=record.tracked,
        discarded=record.discarded,
        cancel_requested=record.flagged,
        owner=fitted(record.owner),
        tenant=fitted(record.tenant),
        parent=_reference(record.parent),
        root=_reference(record.root),
        join_id=_reference(record.join),
        member=record.member,
        trace=record.trace,
        labels=_labels(record.labels),
        worker=fitted(record.worker),
        result=None if result == "null" else result,
        error=failure.type[: limits.LEDGER_NAME_MAX] if failure else None,
        error_message=failure.message if failure else None,
        reason=str(letter.reason) if letter else None,
        replay_of=_reference(record.replay_of),
        **told.progress_of(record.progress),
        **_used(record.used),
        **(_message(letter.subject, letter.headers, letter.body) if letter else {}),
    )
    attempt = failure and Attempt(
        record.id,
        record.attempt,
        failure.type[: limits.LEDGER_NAME_MAX],
        failure.message,
        failure.traceback,
        fitted(record.worker),
        started_at,
        finished_at,
    )
    rows = [row, *(_of_child(record, child) for child in record.children)] if record.children else [row]
    comments = (
        [Comment(record.id, "cancelled", finished_at, fitted(record.actor), record.comment)] if record.comment else ()
    )
    return Said(rows, attempt, joins_of(record) if record.groups else (), comments)


def _of_child(parent: Done, child: Child) -> Row:
    """A child as its parent's commit tells it: it is to be enqueued by then, or waits for its time."""
    at = moment(parent.finished_at)
    return Row(
        child.id,
        step(0, 0),
        State.ENQUEUED if child.at is None else State.WAITING,
        fitted(child.actor),
        at,
        at,
        lane=child.lane,
        submitted_at=at,
        due_at=None if child.at is None else moment(child.at),
        tracked=child.tracked or parent.owner is not None,
        owner=fitted(parent.owner),
        tenant=fitted(parent.tenant),
        parent=parent.id,
        root=_reference(parent.root or parent.id),
        join_id=_reference(child.join),
        member=child.member,
        trace=parent.trace,
        labels=_labels(child.labels),
        arguments=bytes(child.arguments).decode(),
    )


def _of_settled(task_id: str, body: bytes) -> Said:
    record = checked(_settled.decode(body), task_id)
    at = moment(record.at)
    row = Row(
        record.id,
        _SETTLED,
        State.FAILED,
        fitted(record.message.actor) if record.message else "",
        at,
        at,
        settled=record.kind,
        settled_at=at,
        settled_by=fitted(record.who),
        settled_why=record.why,
        replay=_reference(record.replay),
    )
    return Said([row])


_ENDS: Final = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.DROPPED})
_READERS: Final[dict[str, Callable[[str, bytes], Said]]] = {
    "submitted": _of_submitted,
    "started": _of_started,
    "failed": _of_failed,
    "done": _of_done,
    "settled": _of_settled,
    "progress": told.of_progress,
    "heartbeat": told.of_heartbeat,
    "comment": told.of_comment,
    "cancel": told.of_cancel,
}


def _reference(task_id: str | None) -> str | None:
    """Another task's id, unless no task can have it."""
    return task_id if task_id is None or len(task_id) <= limits.ID_MAX else None


def _used(used: Used | None) -> dict[str, Any]:
    return {} if used is None else {"cpu_s": used.cpu_s, "memory_peak_bytes": used.memory_peak_bytes}


def _labels(labels: dict[str, str] | None) -> str | None:
    return msgspec.json.encode(labels).decode() if labels else None


def _message(name: str, headers: str, body: bytes) -> dict[str, Any]:
    """A message as it came: its body is the arguments where it is text, and kept as bytes where it is not."""
    try:
        return {"subject": name, "headers": headers, "arguments": body.decode()}
    except UnicodeDecodeError:
        return {"subject": name, "headers": headers, "body": body}
