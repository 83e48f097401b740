"""What becomes of a tick: its identity, its turn, its successor. Times are Unix seconds, due times aware.

A tick's id is its schedule and its due time, both read from the fired message alone, so that every copy of a
tick is the same task, whoever sent it.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from msgspec.structs import replace

from natsume.enums import CatchUp, Overlap
from natsume.exceptions import UsageError
from natsume.model import codec
from natsume.model.task import Task
from natsume.model.tick import Entry, ScheduleKey, parse_id, parse_subject
from natsume.model.times import TICK_LATE_S
from natsume.schedules import is_text, parse

_MOMENT: Final = timedelta(microseconds=1)


class TickRules(msgspec.Struct, frozen=True):
    """What an actor says of its ticks that are late or overlap; times in seconds."""

    catch_up: CatchUp = CatchUp.ONCE
    window_s: float = 3600.0
    overlap: Overlap = Overlap.ONE_WAITS
    jitter_s: float = 0.0


def identified(task: Task, headers: bytes) -> Task:
    """The task of a message that a schedule fired, under the id of its tick if the schedule is one of ours."""
    fired = _fired(task, headers)
    if fired is None:
        return task
    key, due = fired
    tenant = task.tenant if task.tenant is not None else key.vo
    return replace(task, id=key.tick(due), submitted_at=due.timestamp(), tenant=tenant)


def _fired(task: Task, headers: bytes) -> tuple[ScheduleKey, datetime] | None:
    """The schedule and the due time: the occurrence before the one that the server names as its next.

    That holds also for a firing that comes late, and where the server's clock shows a time twice.
    """
    try:
        key, due = parse_subject(codec.header(headers, b"nats-scheduler"))
        if due is None:
            upcoming = datetime.fromisoformat(codec.header(headers, b"nats-schedule-next"))
            due = parse(task.schedule or "").previous(upcoming - _MOMENT)
    except (ValueError, OverflowError, UsageError):
        return None
    return None if due is None else (key, due)


def due_of(task: Task) -> float | None:
    """When a tick was due; None of any other task."""
    if task.schedule is None:
        return None
    found = parse_id(task.id)
    return found[1].timestamp() if found and is_text(task.schedule) else None


def schedule_of(task: Task) -> str | None:
    """The id of a tick's schedule; None of any other task."""
    found = parse_id(task.id) if task.schedule is not None else None
    return found[0] if found else None


def starts_at(task: Task, rules: TickRules) -> float:
    """When a tick may start: its jitter after it is due, the same for every copy of it; 0 for at once."""
    due = due_of(task)
    if due is None or not rules.jitter_s or task.hop:
        return 0.0
    drawn = int.from_bytes(hashlib.blake2b(task.id.encode(), digest_size=4).digest(), "big") / 2**32
    return due + rules.jitter_s * drawn


def fired_late(task: Task, rules: TickRules, stored_at: float) -> str | None:
    """Why a tick is skipped as it comes in: it was missed, and missed ticks are not made up."""
    due = due_of(task)
    if due is None or task.hop or task.attempt > 1 or rules.catch_up is not CatchUp.SKIP:
        return None
    late_s = stored_at - due
    return f"the broker fired it {late_s:.1f} s late" if late_s > TICK_LATE_S else None


def refused(task: Task, rules: TickRules, holder: str, since: float) -> str | None:
    """Why a tick whose lock another task holds since then is skipped; None if it waits.

    One waits: the first that is due after the holder began. Of those that were due before, one whose own
    schedule is running is stood for by that run, unless all are to be made up; any other waits.
    """
    due = due_of(task)
    if due is None or task.attempt > 1 or holder == task.id:
        return None
    if rules.overlap is Overlap.SKIP:
        return f"{holder or 'another task'} was running"
    found = parse_id(holder)
    siblings = found is not None and found[0] == schedule_of(task)
    if due <= since:
        stands_for = siblings and rules.catch_up is not CatchUp.ALL
        return f"{holder}, which started after it was due, stands for it" if stands_for else None
    waits = _due_before(task, due) <= since
    return None if waits else f"{holder or 'another task'} was running, and an earlier tick waited for it"


def _due_before(task: Task, due: float) -> float:
    """When the tick before this one was due; 0 if there was none."""
    try:
        before = parse(task.schedule or "").previous(datetime.fromtimestamp(due, UTC) - _MOMENT)
    except OverflowError:
        return 0.0
    return before.timestamp() if before is not None else 0.0


def covered(task: Task, rules: TickRules, ran: tuple[str, float] | None, now: float) -> str | None:
    """Why a tick that could start now is skipped: a run after it was due stands for it, or it is too old.

    `ran` is the latest start of its schedule: which tick, and when.
    """
    due = due_of(task)
    if due is None or task.attempt > 1:
        return None
    if rules.catch_up is CatchUp.ALL:
        late_s = now - due
        return f"it is {late_s:.0f} s late, more than {rules.window_s:g} s" if late_s > rules.window_s else None
    if ran is None or ran[0] == task.id or ran[1] < due:
        return None
    return f"{ran[0]}, which started after it was due, stands for it"


def successor(task: Task, headers: bytes, target: str, rules: TickRules, now: float) -> Entry | None:
    """The next occurrence of a schedule that the server cannot repeat, to be armed before this one runs.

    A chain that stood still leaves out what need not be made up: under ALL, what is older than its window.
    """
    try:
        key, due = parse_subject(codec.header(headers, b"nats-scheduler"))
        schedule = parse(task.schedule or "")
        generation = float(codec.header(headers, b"natsume-generation") or 0)
        configured = float(codec.header(headers, b"natsume-configured") or 0)
        if due is None or schedule.server_text is not None:
            return None
        wanted_since = now - rules.window_s if rules.catch_up is CatchUp.ALL else now
        upcoming = schedule.next_after(max(due, datetime.fromtimestamp(wanted_since, UTC)))
    except (ValueError, OverflowError, UsageError):
        return None
    if upcoming is None:
        return None
    return Entry(key, schedule.text, target, task.body, generation, upcoming, configured)
