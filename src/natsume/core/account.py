"""What became of a task, from both that can tell: the broker's records are ahead, the ledger keeps."""

from typing import Final

import msgspec
from msgspec.structs import replace

from natsume.model.ledger import Account, Row
from natsume.model.record import Done, Failed, Failure, Letter, Used
from natsume.model.status import Status
from natsume.model.task import ENDED, Reason
from natsume.model.told import Commented, Flag, Progress

_FILLED: Final = (
    "owner",
    "tenant",
    "parent",
    "submitted_at",
    "started_at",
    "headers",
    "progress",
    "heartbeat_at",
    "flag",
    "worker",
)
_CANCEL: Final = "cancel"
"""The key of the comment that a cancel leaves."""


def merged(told: Status | None, account: Account | None) -> Status | None:
    """One status of both; None where neither knows the task.

    An end stands, whoever tells it. Before the end the one that knows the later attempt is believed, the records
    where both know the same.
    """
    if account is None:
        return told
    kept = of_ledger(account)
    if told is None:
        return kept
    behind = told.done is None and (kept.state in ENDED or kept.attempts > told.attempts)
    first, second = (kept, told) if behind else (told, kept)
    failures = {one.attempt: one for one in (*second.failures, *first.failures)}
    comments = {one.key: one for one in (*kept.comments, *told.comments)}
    filled = {name: getattr(second, name) for name in _FILLED if getattr(first, name) is None}
    return replace(
        first,
        lane=first.lane or second.lane,
        failures=tuple(failures[attempt] for attempt in sorted(failures)),
        comments=tuple(sorted(comments.values(), key=lambda one: one.at)),
        consumed=kept.consumed,
        released=told.released,
        **filled,
    )


def of_ledger(account: Account) -> Status:
    """A task as the ledger knows it."""
    row = account.row
    return Status(
        row.id,
        row.actor,
        row.state,
        row.lane or "",
        row.attempts,
        row.owner,
        row.tenant,
        row.parent,
        row.submitted_at,
        row.started_at,
        row.finished_at,
        None if row.state in ENDED else row.due_at,
        _done(account) if row.state in ENDED and row.finished_at is not None else None,
        tuple(
            Failed(
                one.task_id,
                row.actor,
                one.attempt,
                Failure(one.error, one.message, one.traceback),
                one.worker,
                one.started_at,
                one.failed_at,
                one.next_at,
                0,
            )
            for one in account.attempts
            if one.next_at is not None
        ),
        progress=_progress(row),
        heartbeat_at=row.heartbeat_at or None,
        flag=next((Flag(row.id, one.author, one.at, one.text) for one in account.comments if one.key == _CANCEL), None),
        comments=tuple(
            Commented(one.task_id, one.key, one.author, one.at, one.text)
            for one in account.comments
            if one.key != _CANCEL
        ),
        headers=row.headers,
        consumed=row.consumed,
        worker=row.worker,
    )


def _progress(row: Row) -> Progress | None:
    if row.progress_done is None:
        return None
    return Progress(row.progress_done, row.progress_total, row.progress_message or "")


def _done(account: Account) -> Done:
    """The end of a task as its record told it, without what followed from it."""
    row = account.row
    assert row.finished_at is not None
    last = next((one for one in reversed(account.attempts) if one.next_at is None), None)
    failure = Failure(row.error, row.error_message or "", last.traceback if last else "") if row.error else None
    return Done(
        row.id,
        row.actor,
        row.state,
        "",
        row.worker or "",
        row.attempts,
        row.started_at if row.started_at is not None else row.finished_at,
        row.finished_at,
        row.lane or "",
        row.submitted_at,
        msgspec.Raw((row.result or "null").encode()),
        failure=failure,
        discarded=row.discarded,
        letter=_letter(row),
        waits=row.waits,
        crashes=row.crashes,
        tracked=row.tracked,
        owner=row.owner,
        tenant=row.tenant,
        parent=row.parent,
        root=row.root,
        join=row.join_id,
        member=row.member,
        trace=row.trace,
        labels=msgspec.json.decode(row.labels, type=dict[str, str]) if row.labels else None,
        replay_of=row.replay_of,
        progress=_progress(row),
        used=_used(row),
    )


def _used(row: Row) -> Used | None:
    if row.started_at is None or row.finished_at is None:
        return None
    return Used(row.finished_at - row.started_at, row.cpu_s, row.memory_peak_bytes)


def _letter(row: Row) -> Letter | None:
    if row.reason is None:
        return None
    body = row.body if row.body is not None else (row.arguments or "").encode()
    return Letter(Reason(row.reason), row.subject or "", body, row.headers or "")
