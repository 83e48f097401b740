"""From the ledger's rows to what is to lie in a new broker: tasks that run again, ends that stand, losses."""

from collections.abc import Collection, Mapping

import msgspec
from msgspec.structs import replace

from natsume.core.join import Join
from natsume.model import status
from natsume.model.codec import task_headers, task_subject
from natsume.model.ledger import Remnant, Row
from natsume.model.record import Done, Failure, Letter, child_id
from natsume.model.subject import parse_lane
from natsume.model.task import ENDED, Reason, State, Task
from natsume.model.told import Flag

NONCE = "restored"
_LOST = Failure("BrokerLost", "the broker that held it was lost; it was neither tracked nor dead-letter eligible")
_UNKNOWN = Failure("BrokerLost", "the broker that held it was lost, and the ledger did not know it")


def as_known(join: Join, known: Mapping[str, State]) -> Join:
    """A join with what the ledger knows of its callbacks: of those that it has heard of none is due again.

    Once the callback has ended, a failure callback of which nothing is known was never due, or is long forgotten.
    """
    alarm = join.on_failure
    told = alarm is not None and alarm.id in known
    if not told and known.get(join.callback.id) in ENDED:
        alarm = None
    return replace(join, fired=join.callback.id in known, on_failure=alarm, failure_told=told)


def task_of(row: Row) -> Task | None:
    """The task as it is to be sent again, at the attempt that it had reached; None where its message is not known."""
    body = row.body if row.body is not None else row.arguments.encode() if row.arguments is not None else None
    if body is None:
        return None
    try:
        if row.subject is not None and row.headers is not None:
            task = status.message(row.id, row.subject, row.headers, body)
        else:
            task = _child(row, body)
    except (LookupError, ValueError, msgspec.MsgspecError):
        return None
    return again(replace(task, id=row.id), row)


def again(task: Task, row: Row) -> Task:
    """A task at the attempt that it had reached, known to the ledger from now on."""
    attempt = max(task.attempt, row.failures + 1)
    return replace(task, tracked=True, attempt=attempt, hop=0, waits=0, offers=0, waiting_since=None, grants=None)


def flag_of(row: Row) -> Flag:
    """The wish that a task ends as far as its row knows it."""
    return Flag(row.id, "somebody", row.enqueued_at, "before the broker was lost")


def due_of(row: Row, now: float) -> float | None:
    """When a task that is sent again is due; None for at once."""
    waits = row.state is State.WAITING and row.due_at is not None and row.due_at > now
    return row.due_at if waits else None


def done_of(remnant: Remnant, joins: Collection[str]) -> Done:
    """The end of a task as it is to stand again; it counts only for joins that there are."""
    row = remnant.row
    counts = row.join_id in joins
    failure = Failure(row.error, row.error_message or "", remnant.traceback) if row.error is not None else None
    kept = row.reason is not None and row.settled is None and row.subject is not None
    letter = None
    if kept:
        assert row.reason is not None
        assert row.subject is not None
        body = row.body if row.body is not None else (row.arguments or "").encode()
        letter = Letter(Reason(row.reason), row.subject, body, row.headers or "")
    return _end(row, row.state, failure, letter, counts=counts)


def lost(row: Row, joins: Collection[str], now: float) -> Done:
    """The end of a task that went with its broker; a member of a join is kept, for its replay completes the join."""
    counts, task = row.join_id in joins, task_of(row)
    letter = None
    if counts and task is not None:
        letter = Letter(Reason.UNRETRYABLE, task_subject(task), task.body, task_headers(task).decode())
    return _end(replace(row, finished_at=now), State.DROPPED, _LOST, letter, counts=counts)


def unknown_member(join: Join, member: int, now: float) -> Done:
    """The end of a member that the ledger never heard of."""
    return Done(
        child_id(join.parent, join.first + member),
        "",
        State.DROPPED,
        NONCE,
        "",
        1,
        now,
        now,
        failure=_UNKNOWN,
        discarded=True,
        owner=join.owner,
        tenant=join.tenant,
        parent=join.parent,
        root=join.root,
        join=join.id,
        member=member,
    )


def _end(row: Row, state: State, failure: Failure | None, letter: Letter | None, *, counts: bool) -> Done:
    finished_at = row.finished_at if row.finished_at is not None else row.heartbeat_at
    return Done(
        row.id,
        row.actor,
        state,
        NONCE,
        row.worker or "",
        max(row.attempts, 1),
        row.started_at if row.started_at is not None else finished_at,
        finished_at,
        row.lane or "",
        row.submitted_at,
        msgspec.Raw((row.result or "null").encode()),
        failure=failure,
        discarded=letter is None and state is not State.COMPLETED,
        letter=letter,
        waits=row.waits,
        crashes=row.crashes,
        tracked=row.tracked,
        owner=row.owner,
        tenant=row.tenant,
        parent=row.parent,
        root=row.root,
        join=row.join_id if counts else None,
        member=row.member if counts else None,
        trace=row.trace,
        labels=_labels(row),
        replay_of=row.replay_of,
    )


def _child(row: Row, body: bytes) -> Task:
    """A task that the ledger knows from its parent's commit alone."""
    return Task(
        row.id,
        row.actor,
        parse_lane(row.lane or ""),
        body,
        owner=row.owner,
        tenant=row.tenant,
        parent=row.parent,
        root=row.root,
        join=row.join_id,
        member=row.member,
        trace=row.trace,
        labels=_labels(row),
    )


def _labels(row: Row) -> dict[str, str] | None:
    return msgspec.json.decode(row.labels, type=dict[str, str]) if row.labels else None
