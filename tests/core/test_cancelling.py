"""The table where somebody wishes a task cancelled: it ends, once, and does not start."""

from typing import Any, Final

import pytest
from msgspec.structs import replace

from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import outcome
from natsume.core import phases as at
from natsume.core.attempt import Step, step
from natsume.core.delivery import Delivery, Rules
from natsume.enums import Priority, Size
from natsume.model.lock import Blocked, Want
from natsume.model.record import Done, Failure
from natsume.model.subject import Lane
from natsume.model.task import Fault, Reason, State, Task
from natsume.model.told import Flag, Progress

NOW: Final = 1_000.0
LANE: Final = Lane(Priority.NORMAL, Size.SMALL)
RULES: Final = Rules("app:Fit", LANE, worker="w")
TASK: Final = Task("t", "app:Fit", LANE, b"{}")
RUNNING: Final = at.Running("me")
MARKED: Final = at.Running("me", mark=7, crashes=2)
FLAG: Final = Flag("t", "anna", NOW, "too late")
EVENT: Final = ev.Flagged(NOW, "me", FLAG)


def delivery(task: Task = TASK) -> Delivery:
    return Delivery(task, b"token", 5, subject="task.normal.small.app.Fit")


def take(phase: at.Phase, event: ev.Event, copy: Delivery | None = None, rules: Rules = RULES) -> Step:
    return step(phase, copy or delivery(), rules, event)


def committed(result: Step) -> Done:
    phase, effects = result
    assert isinstance(phase, at.Committing)
    assert effects == (do.Commit(phase.record),)
    return phase.record


def is_cancelled(record: Done) -> None:
    assert (record.state, record.kind, record.flagged) == (State.CANCELLED, "effects", True)
    assert (record.letter, record.discarded) == (None, True)
    assert record.failure == Failure("Cancelled", "cancelled by anna: too late")


@pytest.mark.parametrize(
    "more",
    [{}, {"suspect": True}, {"locks": True}, {"fault": Fault(Reason.UNKNOWN_ACTOR, "nobody")}, {"not_before": NOW + 9}],
    ids=str,
)
def test_what_is_flagged_when_it_is_opened_ends_without_a_start(more: dict[str, Any]) -> None:
    event = ev.Opened(NOW, "me", flag=FLAG, **more)
    is_cancelled(committed(take(at.Buffered(), event)))
    is_cancelled(committed(take(at.Buffered(), event, rules=replace(RULES, lane=Lane(Priority.REALTIME, Size.SMALL)))))


@pytest.mark.parametrize(
    "phase",
    [RUNNING, MARKED, at.Arming(replace(TASK, hop=1), NOW), at.Parking(TASK, Blocked(Want("k", "k"), "other"), NOW)],
    ids=lambda phase: type(phase).__name__,
)
def test_what_is_about_to_start_or_goes_away_ends(phase: at.Phase) -> None:
    is_cancelled(committed(take(phase, EVENT)))


def test_a_task_that_honours_it_ends_with_its_comment_and_progress() -> None:
    halfway = Progress(1, 2)
    record = committed(take(MARKED, ev.Honoured(NOW - 1, NOW, FLAG, "enough", halfway)))
    is_cancelled(record)
    assert (record.comment, record.progress, record.started_at) == ("enough", halfway, NOW - 1)


def test_one_that_lost_its_lock_honours_nothing_and_runs_again() -> None:
    phase, effects = take(replace(RUNNING, lost=True), ev.Honoured(NOW, NOW, FLAG))
    assert (phase, effects) == (at.Closed(), (do.ReleaseLocks(), do.GiveBack()))


def test_a_member_of_a_join_is_kept_for_its_replay() -> None:
    member = delivery(replace(TASK, join="j", member=0))
    record = committed(take(at.Buffered(), ev.Opened(NOW, "me", flag=FLAG), member))
    assert record.letter is not None
    assert (record.kind, record.letter.reason, record.discarded) == ("dead", Reason.CANCELLED, False)


def test_what_finishes_anyway_is_completed_and_says_that_it_was_flagged() -> None:
    record = committed(take(RUNNING, ev.Returned(NOW, NOW, b"42", flagged=True)))
    assert (record.state, record.flagged, record.kind) == (State.COMPLETED, True, "effects")


def test_what_waits_is_ended_with_all_that_its_message_says() -> None:
    waits = replace(TASK, join="j", member=3, claim="c", parent="p", tracked=True, hop=2)
    record = outcome.flagged_waiting(waits, "client", EVENT)
    assert (record.join, record.member, record.claim, record.parent, record.tracked) == ("j", 3, "c", "p", True)
    assert record.letter is not None
    assert record.letter.body == TASK.body
