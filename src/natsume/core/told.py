"""What is said of a task beside its course, as rows: progress, heartbeats, comments, the wish that it ends."""

from typing import Any, Final

import msgspec

from natsume.core.said import Said, checked, fitted, moment, step
from natsume.model import limits
from natsume.model.ledger import Comment, Row
from natsume.model.task import State
from natsume.model.told import Commented, Flag, Heartbeat, Progress, Progressed

_WISHED: Final = -1
"""That somebody wishes it cancelled says nothing of its state."""

_progressed = msgspec.json.Decoder(Progressed)
_heartbeat = msgspec.json.Decoder(Heartbeat)
_commented = msgspec.json.Decoder(Commented)
_flag = msgspec.json.Decoder(Flag)


def of_progress(task_id: str, body: bytes) -> Said:
    """How far it is, and so that it runs."""
    record = checked(_progressed.decode(body), task_id)
    return Said([_running(record, **progress_of(record.progress))])


def of_heartbeat(task_id: str, body: bytes) -> Said:
    """That it runs."""
    return Said([_running(checked(_heartbeat.decode(body), task_id))])


def _running(record: Progressed | Heartbeat, **more: Any) -> Row:
    """A task that runs at this time, as it or its worker says."""
    at, worker = moment(record.at), fitted(record.worker)
    actor, attempt = fitted(record.actor), record.attempt
    return Row(record.id, step(attempt, at), State.RUNNING, actor, at, at, attempts=attempt, worker=worker, **more)


def progress_of(progress: Progress | None) -> dict[str, Any]:
    """The fields of a row that hold a progress."""
    if progress is None:
        return {}
    message = progress.message[: limits.COMMENT_MAX] or None
    return {"progress_done": progress.done, "progress_total": progress.total, "progress_message": message}


def of_comment(task_id: str, body: bytes) -> Said:
    """What somebody says of it, whether anything else is known of it or not."""
    record = checked(_commented.decode(body), task_id)
    key, text = record.key[: limits.COMMENT_KEY_MAX], record.text[: limits.COMMENT_MAX]
    return Said((), comments=[Comment(record.id, key, moment(record.at), fitted(record.author), text)])


def of_cancel(task_id: str, body: bytes) -> Said:
    """That somebody wishes it cancelled, and why."""
    flag = checked(_flag.decode(body), task_id)
    at = moment(flag.at)
    row = Row(flag.id, _WISHED, State.ENQUEUED, "", at, 0.0, cancel_requested=True)
    text = "cancelled" + (f": {flag.why[: limits.COMMENT_MAX]}" if flag.why else "")
    return Said([row], comments=[Comment(flag.id, "cancel", at, fitted(flag.who), text)])
