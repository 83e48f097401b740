"""What a task's end says, as rows: the task, its children, its last attempt, and what was decided on a dead letter."""

from typing import Final

import msgspec

from natsume.core import told
from natsume.core.reaction import joins_of
from natsume.core.said import Said, checked, fitted, labels_of, message_of, moment, reference, step, used_of
from natsume.model import limits
from natsume.model.ledger import Attempt, Comment, Row
from natsume.model.record import Child, Done, Failure, Settled
from natsume.model.task import State
from natsume.model.told import CANCELLED_COMMENT

_END: Final = 1 << 62
_SETTLED: Final = _END - 1
"""Only what has ended is settled; what its end says of it stands above."""
_ENDS: Final = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.DROPPED})

_done = msgspec.json.Decoder(Done)
_settled = msgspec.json.Decoder(Settled)


def of_done(task_id: str, body: bytes) -> Said:
    """How it ended, and the children that follow from that."""
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
        started_at=started_at if record.ran else None,
        finished_at=finished_at,
        attempts=record.attempts,
        failures=record.attempts if failure else max(record.attempts - 1, 0),
        waits=record.waits,
        crashes=record.crashes,
        tracked=record.tracked,
        discarded=record.discarded,
        cancel_requested=record.flagged,
        owner=fitted(record.owner),
        tenant=fitted(record.tenant),
        parent=reference(record.parent),
        root=reference(record.root),
        join_id=reference(record.join),
        member=record.member,
        trace=record.trace,
        labels=labels_of(record.labels),
        worker=fitted(record.worker),
        result=None if result == "null" else result,
        error=failure.type[: limits.LEDGER_NAME_MAX] if failure else None,
        error_message=failure.message if failure else None,
        reason=str(letter.reason) if letter else None,
        replay_of=reference(record.replay_of),
        **told.progress_of(record.progress),
        **used_of(record.used),
        **(message_of(letter.subject, letter.headers, letter.body) if letter else {}),
    )
    attempt = _attempt(record, failure, started_at, finished_at) if failure and record.ran else None
    rows = [row, *(_of_child(record, child) for child in record.children)] if record.children else [row]
    comments = (
        [Comment(record.id, CANCELLED_COMMENT, finished_at, fitted(record.actor), record.comment)]
        if record.comment
        else ()
    )
    return Said(rows, attempt, joins_of(record) if record.groups else (), comments)


def _attempt(record: Done, failure: Failure, started_at: float, finished_at: float) -> Attempt:
    return Attempt(
        record.id,
        record.attempt,
        failure.type[: limits.LEDGER_NAME_MAX],
        failure.message,
        failure.traceback,
        fitted(record.worker),
        started_at,
        finished_at,
    )


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
        root=reference(parent.root or parent.id),
        join_id=reference(child.join),
        member=child.member,
        trace=parent.trace,
        labels=labels_of(child.labels),
        arguments=bytes(child.arguments).decode(),
    )


def of_settled(task_id: str, body: bytes) -> Said:
    """What was decided on the dead letter that it is."""
    record = checked(_settled.decode(body), task_id)
    if record.message is not None and not record.sent:
        return Said([])  # only what is sent settles a letter: until then its records are needed
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
        replay=reference(record.replay),
    )
    return Said([row])
