"""How long a task waits for a lock: its fall-back time, its limit, and what becomes of it then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsume import BaseTask
from natsume.actors.registry import Registry
from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import phases as at
from natsume.core.attempt import step
from natsume.core.delivery import Delivery, Rules
from natsume.core.waiting import falls_back_at
from natsume.enums import Priority, Size
from natsume.exceptions import UsageError
from natsume.model.lock import Blocked, Want
from natsume.model.record import Done, Failed, Failure, History, Started
from natsume.model.subject import Lane
from natsume.model.task import Reason, State, Task
from natsume.model.times import FALL_BACK_AFTER_S, FALL_BACK_LAST_S

LANE = Lane(Priority.NORMAL, Size.SMALL)
NOW = 1_000.0
LIMITED = Rules("a:B", LANE, worker="w", wait_limit_s=60.0)
WAITED = Task("t", "a:B", LANE, b"{}", hop=3, waits=3, waiting_since=NOW - 60)
BLOCKED = Blocked(Want("mutex.job.7", "mutex:job:7"), "other", "run", ends_at=NOW + 30)
STARTED = Started("t", "a:B", 1, "w", NOW)
FAILED = Failed("t", "a:B", 1, Failure("E", "no"), "w", NOW, NOW, NOW + 5, 9)


def refused(task: Task, rules: Rules = LIMITED, blocked: Blocked = BLOCKED):
    delivery = Delivery(task, b"", 5, subject="task.normal.small.a.B")
    return step(at.Locking("me", suspect=True), delivery, rules, ev.LockRefused(NOW, blocked))


def looked_up(history: History, rules: Rules = LIMITED, task: Task = WAITED):
    delivery = Delivery(task, b"", 5, subject="task.normal.small.a.B")
    return step(at.Expiring("me", BLOCKED), delivery, rules, ev.LookedUp(NOW, history))


def committed(result) -> Done:
    phase, (effect,) = result
    assert isinstance(phase, at.Committing)
    assert isinstance(effect, do.Commit)
    return effect.record


@given(
    waits=st.integers(1, 10_000),
    since=st.floats(NOW - 3600, NOW),
    limit_s=st.floats(0.1, 10_000),
    first=st.booleans(),
    ends_at=st.none() | st.floats(NOW - 10, NOW + 100),
)
def test_no_task_returns_after_its_limit_and_none_at_once(waits, since, limit_s, first, ends_at):
    task = replace(WAITED, waits=waits, waiting_since=since)
    blocked = replace(BLOCKED, first=first, ends_at=ends_at)
    unlimited = falls_back_at(task, blocked, NOW)
    assert NOW < unlimited <= NOW + max(FALL_BACK_LAST_S, 100 + FALL_BACK_AFTER_S)
    limited = falls_back_at(task, blocked, NOW, limit_s)
    assert NOW < limited <= unlimited
    assert limited <= since + limit_s or since + limit_s <= NOW


def test_a_task_is_parked_until_its_limit():
    phase, _ = refused(replace(WAITED, waiting_since=NOW - 50))
    assert (type(phase), phase.until) == (at.Parking, NOW + 10)
    phase, _ = refused(replace(WAITED, waiting_since=None))
    assert (phase.task.waiting_since, phase.until) == (NOW, NOW + 30 + FALL_BACK_AFTER_S)


def test_one_that_waited_so_long_is_looked_up_first():
    assert refused(WAITED) == (at.Expiring("me", BLOCKED), (do.LookUp(),))
    assert isinstance(refused(WAITED, replace(LIMITED, wait_limit_s=None))[0], at.Parking)
    phase, _ = refused(WAITED, blocked=replace(BLOCKED, task="t"))  # its own copy has it
    assert (type(phase), phase.until) == (at.Parking, NOW + 30 + FALL_BACK_AFTER_S)


def test_it_becomes_a_dead_letter_that_says_what_it_waited_for():
    for history in (History(), History(started=replace(STARTED, ended=True))):
        record = committed(looked_up(history))
        assert (record.state, record.letter.reason, record.kind) == (State.FAILED, Reason.EXPIRED, "dead")
        assert record.failure.message == "it waited 60.0 s for mutex:job:7, which task other has"


@pytest.mark.parametrize(("join", "kept"), [(None, False), ("j", True)])
def test_or_it_is_dropped_unless_a_join_waits_for_it(join, kept):
    record = committed(looked_up(History(), replace(LIMITED, on_wait_limit="drop"), replace(WAITED, join=join)))
    assert (record.letter is not None, record.discarded) == (kept, not kept)
    assert record.state is (State.FAILED if kept else State.DROPPED)


def test_what_started_or_ended_is_not_given_up():
    done = Done("t", "a:B", State.COMPLETED, "other", "w", 1, NOW, NOW)
    assert looked_up(History(done=done))[0] == at.Closed()
    phase, _ = looked_up(History(failed=FAILED))
    assert (type(phase), phase.task.attempt) == (at.Arming, 2)
    phase, _ = looked_up(History(started=STARTED))
    assert (type(phase), phase.until > NOW) == (at.Parking, True)
    delivery = Delivery(WAITED, b"", 5)
    assert step(at.Expiring("me", BLOCKED), delivery, LIMITED, ev.Uncertain())[1] == (do.LookUp(),)


def test_a_struck_task_is_parked_before_its_locks_and_counts_no_attempt():
    strike = Blocked(Want("strike.a.B", "strike:a:B"), first=False)
    opened = ev.Opened(NOW, "me", suspect=True, locks=True, struck=strike)
    phase, (park,) = step(at.Buffered(), Delivery(WAITED, b"", 5), LIMITED, opened)
    assert (phase, park) == (at.Parking(park.task, strike, park.until), do.Park(park.task, strike, park.until))
    assert (park.task.attempt, park.task.hop, park.task.waits) == (1, 4, 4)
    assert (park.task.waiting_since, park.until > NOW + 60) == (None, True)  # its limit does not run meanwhile


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"wait_limit_s": 0}, "wait_limit_s is 0: set it to a number of seconds above 0, or None"),
        ({"wait_limit_s": "60"}, "wait_limit_s is '60': set it to"),
        ({"wait_limit_s": float("nan")}, "wait_limit_s is nan: set it to"),
        ({"wait_limit_s": True}, "wait_limit_s is True: set it to"),
        ({"on_wait_limit": "forget"}, 'on_wait_limit is \'forget\': set it to "dead_letter" or "drop"'),
    ],
)
def test_what_cannot_be_declared(attributes, sentence):
    async def execute(self):
        pass

    with pytest.raises(UsageError) as refused:
        Registry.of_classes({"a:B": type("B", (BaseTask,), {"execute": execute, **attributes})})
    assert sentence in str(refused.value)
