"""How long a parked task waits: when it returns by itself, and when it has waited too long."""

from natsume.core.delivery import Rules
from natsume.core.outcome import spread
from natsume.model import times
from natsume.model.lock import Blocked
from natsume.model.task import Task


def falls_back_at(task: Task, blocked: Blocked, at: float, limit_s: float | None = None) -> float:
    """When a task that is being parked returns by itself, should nobody wake it.

    The first of a line looks again when the lease before it must have ended; the others rely on those
    before them, and look ever more rarely, scaled by a half to one so that they do not return together.
    No task that may still wait returns later than it may: `limit_s` from its first refusal on.
    """
    if blocked.first and blocked.ends_at is not None:
        until = max(at, blocked.ends_at) + times.FALL_BACK_AFTER_S
    else:
        longest = min(times.FALL_BACK_FIRST_S * 2.0 ** min(task.waits - 1, 16), times.FALL_BACK_LAST_S)
        until = at + longest * spread(task)
    if limit_s is None or task.waiting_since is None or task.waiting_since + limit_s <= at:
        return until
    return min(until, task.waiting_since + limit_s)


def is_over(task: Task, rules: Rules, blocked: Blocked, at: float) -> bool:
    """Whether a refused task has waited as long as its actor allows; not while another copy of it has the lock."""
    if rules.wait_limit_s is None or task.waiting_since is None or blocked.task == task.id:
        return False
    return at - task.waiting_since >= rules.wait_limit_s


def sentence(task: Task, blocked: Blocked, at: float) -> str:
    """What it waited for, and for how long."""
    since = task.waiting_since if task.waiting_since is not None else at
    behind = f", which task {blocked.task} has" if blocked.task else ""
    return f"it waited {at - since:.1f} s for {blocked.want.name}{behind}"
