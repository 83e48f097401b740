"""A task as one row: what `natsume tasks` shows people and programs."""

from typing import Any

import msgspec

from natsume.model.codec import timestamp
from natsume.model.record import Failed, Failure
from natsume.model.status import Status
from natsume.model.strike import Strike
from natsume.model.told import Commented, Progress, Released


def row_of(status: Status, strike: Strike | None = None) -> dict[str, Any]:
    """A task as a person or a program reads it; times are ISO 8601 in UTC."""
    done = status.done
    return {
        "id": status.id,
        "actor": status.actor,
        "state": str(status.state),
        "lane": status.lane,
        "owner": status.owner,
        "tenant": status.tenant,
        "parent": status.parent,
        "attempts": status.attempts,
        "submitted_at": moment(status.submitted_at),
        "started_at": moment(status.started_at),
        "finished_at": moment(status.finished_at),
        "due_at": moment(status.due_at),
        "waiting_for": status.waiting_for,
        "waiting_since": moment(status.waiting_since),
        "behind": status.behind,
        "strike": str(strike) if strike is not None else None,
        "worker": status.worker,
        "labels": done.labels if done else None,
        "replay_of": done.replay_of if done else None,
        "dead": str(done.letter.reason) if done and done.letter else None,
        "result": msgspec.json.decode(done.result) if done else None,
        "used": _used(status),
        "failures": [*map(_failed, status.failures), *_last_failure(status)],
        "released": [_released(record) for record in status.released],
        "consumed": status.consumed,
        "progress": _progress(status.progress),
        "heartbeat_at": moment(status.heartbeat_at),
        "cancel": _flag(status),
        "comments": [said(one) for one in status.comments],
    }


def moment(at: float | None) -> str | None:
    """A time as ISO 8601 in UTC."""
    return None if at is None else timestamp(at)


def _failed(record: Failed) -> dict[str, Any]:
    return _failure(record.attempt, record.failed_at, record.failure)


def _released(record: Released) -> dict[str, Any]:
    return {"lock": record.name, "at": moment(record.at), "who": record.who, "why": record.why}


def _progress(progress: Progress | None) -> dict[str, Any] | None:
    return None if progress is None else msgspec.to_builtins(progress)


def _used(status: Status) -> dict[str, Any] | None:
    """What its last try took, as far as it is known."""
    last = status.done or (status.failures[-1] if status.failures else None)
    return None if last is None or last.used is None else msgspec.to_builtins(last.used)


def _flag(status: Status) -> dict[str, Any] | None:
    flag, answer = status.flag, status.done.comment if status.done else ""
    if flag is None:
        return None
    return {"who": flag.who, "at": moment(flag.at), "why": flag.why, "cascade": flag.cascade, "answer": answer}


def _last_failure(status: Status) -> list[dict[str, Any]]:
    done = status.done
    if done is None or done.failure is None:
        return []
    return [_failure(done.attempt, done.finished_at, done.failure)]


def _failure(attempt: int, at: float, failure: Failure) -> dict[str, Any]:
    return {"attempt": attempt, "at": moment(at), "error": f"{failure.type}: {failure.message}"} | {
        "traceback": failure.traceback
    }


def said(one: Commented) -> str:
    """A comment as people read it."""
    return f"{one.author} at {timestamp(one.at)}: {one.text}"
