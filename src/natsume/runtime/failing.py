"""What a failure of a task is to the table: an event, once its retry policy has been asked."""

import logging
import time
import traceback
from collections.abc import Mapping
from datetime import UTC
from typing import Final

from natsume.actors.registry import Actor
from natsume.core import events as ev
from natsume.exceptions import ProcessDied, ProcessesLeft, ResourceLimitExceeded, UnretryableError
from natsume.model import limits
from natsume.model.record import Failure, Used
from natsume.model.task import Reason
from natsume.runtime.run import Run

_log = logging.getLogger(__name__)

_OF_LIMITS: Final[Mapping[str, Reason]] = {
    "timeout_s": Reason.TIME_LIMIT,
    "cpu_limit_s": Reason.CPU_LIMIT,
    "memory_limit_mb": Reason.MEMORY_LIMIT,
}


def raised(run: Run, actor: Actor, error: BaseException, at: float, used: Used | None = None) -> ev.Raised:
    """What a failure is to the table: the policy has been asked about it, and it is logged."""
    error = run.explain(error)
    retry_at, reason = None, reason_of(error)
    if reason is not Reason.UNRETRYABLE:
        retry_at = _ask_policy(actor, run.delivery.task.attempt, error, at)
    failure = describe(error)
    _log.log(
        logging.WARNING if retry_at is None else logging.INFO,
        "attempt %d of %s %s failed: %s: %s%s",
        run.delivery.task.attempt,
        actor.name,
        run.delivery.task.id,
        failure.type,
        failure.message,
        "" if retry_at is None else f"; the next one is due in {retry_at - at:.1f} s",
    )
    return ev.Raised(run.started_at, at, failure, retry_at, reason, run.progress, run.flag is not None, used)


def reason_of(error: BaseException) -> Reason:
    """Why a task that failed so is a dead letter, where nothing tries it again."""
    match error:
        case UnretryableError():
            return Reason.UNRETRYABLE
        case ResourceLimitExceeded():
            return _OF_LIMITS[error.limit]
        case ProcessDied():
            return Reason.CRASHED if error.signal is None else Reason.SIGNAL
        case ProcessesLeft():
            return Reason.PROCESSES_LEFT
    return Reason.EXHAUSTED


def _ask_policy(actor: Actor, attempt: int, error: BaseException, at: float) -> float | None:
    """When the policy wants retry number `attempt`, in the broker's time; it answers in this machine's."""
    try:
        due = actor.retry_policy.schedule_retry(attempt, error)
        if due is None:
            return None
        return (due if due.tzinfo else due.replace(tzinfo=UTC)).timestamp() + at - time.time()
    except Exception:  # noqa: BLE001 - a policy is the user's code; its failure must not lose the task's
        _log.exception("the retry policy of %s failed; the task is not tried again", actor.name)
        return None


def describe(error: BaseException) -> Failure:
    """An exception as a record keeps it: cut at the bounds, the traceback at its beginning."""
    text = "".join(traceback.format_exception(error))
    if len(text) > limits.TRACEBACK_MAX:
        text = "…" + text[-limits.TRACEBACK_MAX :]
    text = text.encode("utf-8", "replace").decode()
    message = str(error)[: limits.MESSAGE_TEXT_MAX].encode("utf-8", "replace").decode()
    return Failure(type(error).__name__, message, text)
