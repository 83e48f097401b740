"""The table, row by row: an event in, the next phase and its effects out."""

from typing import Final

import pytest
from msgspec.structs import replace

from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import phases as at
from natsume.core.attempt import TABLE, step
from natsume.core.delivery import Boot, Delivery, Rules, is_doubtful, is_suspect
from natsume.core.rows import Step
from natsume.enums import Priority, Size
from natsume.model.limits import UNKNOWN_OFFERS_MAX
from natsume.model.lock import Blocked, Want
from natsume.model.record import Child, Done, Failed, Failure, History, Started
from natsume.model.subject import Lane
from natsume.model.task import Fault, Reason, State, Task
from natsume.model.told import Flag

LANE: Final = Lane(Priority.NORMAL, Size.SMALL)
URGENT: Final = Lane(Priority.REALTIME, Size.SMALL)
RULES: Final = Rules("app:Fit", LANE, worker="w")
TASK: Final = Task("t", "app:Fit", LANE, b"{}")
NOW: Final = 1_000.0
BLOCKED: Final = ev.LockRefused(NOW, Blocked(Want("k", "k"), "other"))

RUNNING: Final = at.Running("me")
MARKED: Final = at.Running("me", mark=7, crashes=2)
RETURNED: Final = ev.Returned(NOW, NOW + 1, b"42")
RAISED: Final = ev.Raised(NOW, NOW + 1, Failure("E", "no"))
RETRIED: Final = replace(RAISED, retry_at=NOW + 10)
INTERRUPTED: Final = ev.Interrupted(NOW, NOW + 1)
FAILED: Final = Failed("t", "app:Fit", 1, Failure("E", "no"), "other", NOW, NOW, NOW + 5, 1)
DONE: Final = Done("t", "app:Fit", State.COMPLETED, "other", "other", 1, NOW, NOW)
THROTTLED: Final = ev.Throttled(NOW, NOW + 9, {"share": NOW + 9})
FLAG: Final = Flag("t", "anna", NOW)
CLOSED: Final[Step] = (at.Closed(), (do.ReleaseLocks(), do.Acknowledge()))
GIVEN_BACK: Final[Step] = (at.Closed(), (do.ReleaseLocks(), do.GiveBack()))


def delivery(task: Task = TASK, delivered: int = 1) -> Delivery:
    return Delivery(task, b"token", 5, delivered, subject="task.normal.small.app.Fit")


def take(phase: at.Phase, event: ev.Event, copy: Delivery | None = None, rules: Rules = RULES) -> Step:
    return step(phase, copy or delivery(), rules, event)


def started(crashes: int, nonce: str = "other") -> History:
    return History(started=Started("t", "app:Fit", 1, "other", NOW, nonce, crashes), started_seq=3)


def armed(result: Step) -> tuple[Task, float]:
    """The successor and its time; last of the effects, for all else comes before it."""
    phase, effects = result
    arm = effects[-1]
    assert isinstance(phase, at.Arming)
    assert isinstance(arm, do.Arm)
    assert (phase.task, phase.at) == (arm.task, arm.at)
    return arm.task, arm.at


def parked(result: Step) -> tuple[Task, float]:
    """What waits in a line, and when it returns by itself; nothing is held or acknowledged before it stands."""
    phase, effects = result
    (park,) = effects
    assert isinstance(phase, at.Parking)
    assert isinstance(park, do.Park)
    assert (phase.task, phase.blocked, phase.until) == (park.task, park.blocked, park.until)
    return park.task, park.until


def committed(result: Step) -> Done:
    """The record that is being committed, by the only effect."""
    phase, effects = result
    assert isinstance(phase, at.Committing)
    assert effects == (do.Commit(phase.record),)
    return phase.record


class TestBuffered:
    def test_what_is_new_and_free_runs_at_once(self) -> None:
        assert take(at.Buffered(), ev.Opened(NOW, "me")) == (RUNNING, (do.Execute(),))

    def test_what_may_have_run_is_looked_up(self) -> None:
        assert take(at.Buffered(), ev.Opened(NOW, "me", suspect=True)) == (at.Checking("me"), (do.LookUp(),))

    @pytest.mark.parametrize("suspect", [False, True])
    def test_locks_come_before_the_look_up(self, suspect: bool) -> None:
        result = take(at.Buffered(), ev.Opened(NOW, "me", suspect=suspect, locks=True))
        assert result == (at.Locking("me", suspect), (do.TakeLocks(),))

    def test_what_lies_on_a_wrong_lane_is_moved_under_its_id(self) -> None:
        phase, effects = take(at.Buffered(), ev.Opened(NOW, "me"), rules=replace(RULES, lane=URGENT))
        moved = replace(TASK, lane=URGENT, hop=1)
        assert (phase, effects) == (at.Forwarding(moved), (do.Forward(moved),))

    def test_an_unknown_actor_is_offered_again_with_growing_pauses(self) -> None:
        fault = Fault(Reason.UNKNOWN_ACTOR, "nobody knows it")
        pauses = []
        task = TASK
        for _ in range(UNKNOWN_OFFERS_MAX):
            task, due = armed(take(at.Buffered(), ev.Opened(NOW, "me", fault=fault), delivery(task)))
            pauses.append(due - NOW)
        assert (task.offers, task.hop, task.attempt) == (UNKNOWN_OFFERS_MAX, UNKNOWN_OFFERS_MAX, 1)
        assert pauses == [7.5, 15.0, 30.0, 60.0]
        record = committed(take(at.Buffered(), ev.Opened(NOW, "me", fault=fault), delivery(task)))
        assert record.letter is not None
        assert record.letter.reason is Reason.UNKNOWN_ACTOR

    @pytest.mark.parametrize("reason", [Reason.UNPARSABLE, Reason.INVALID_ARGUMENTS])
    def test_what_can_never_run_is_kept_with_its_body(self, reason: Reason) -> None:
        record = committed(take(at.Buffered(), ev.Opened(NOW, "me", fault=Fault(reason, "why"))))
        assert (record.state, record.kind) == (State.FAILED, "dead")
        assert record.letter is not None
        assert (record.letter.reason, record.letter.body) == (reason, b"{}")
        assert record.failure == Failure(str(reason), "why")


class TestLocking:
    def test_a_new_task_with_its_locks_runs(self) -> None:
        assert take(at.Locking("me", suspect=False), ev.Locked()) == (RUNNING, (do.Execute(),))

    def test_a_suspect_is_looked_up_under_its_locks(self) -> None:
        assert take(at.Locking("me", suspect=True), ev.Locked()) == (at.Checking("me"), (do.LookUp(),))

    def test_a_refused_task_waits_longer_each_time_and_counts_no_attempt(self) -> None:
        behind_others = Blocked(Want("k", "k"), "other", ends_at=NOW + 30, first=False)
        first, until = parked(take(at.Locking("me", suspect=False), ev.LockRefused(NOW, behind_others)))
        assert (first.waits, first.hop, first.attempt, first.waiting_since) == (1, 1, 1, NOW)
        again = ev.LockRefused(NOW + 1, behind_others)
        second, later = parked(take(at.Locking("me", suspect=True), again, delivery(first)))
        assert (second.waits, second.hop, second.waiting_since) == (2, 2, NOW)
        assert NOW + 30 < until < later

    def test_the_first_of_a_line_looks_again_when_the_lease_before_it_must_have_ended(self) -> None:
        blocked = Blocked(Want("k", "k"), "other", ends_at=NOW + 30)
        _, until = parked(take(at.Locking("me", suspect=False), ev.LockRefused(NOW, blocked)))
        assert until == NOW + 31

    def test_who_waits_for_a_lock_that_never_ends_falls_back_like_the_others(self) -> None:
        _, until = parked(take(at.Locking("me", suspect=False), ev.LockRefused(NOW, Blocked(Want("k", "k"), "other"))))
        assert until > NOW + 31

    def test_a_park_without_an_answer_is_repeated_as_it_was(self) -> None:
        phase, effects = take(at.Locking("me", suspect=False), BLOCKED)
        assert take(phase, ev.Uncertain()) == (phase, effects)
        assert take(phase, ev.Written()) == (at.Closed(), (do.ReleaseLocks(), do.Acknowledge()))

    @pytest.mark.parametrize("suspect", [False, True])
    def test_without_an_answer_the_locks_are_taken_again_and_what_was_new_is_so_no_more(self, suspect: bool) -> None:
        assert take(at.Locking("me", suspect), ev.Uncertain()) == (at.Locking("me", suspect=True), (do.TakeLocks(),))


class TestChecking:
    def look_up(self, history: History, copy: Delivery | None = None, *, alone: bool = False) -> Step:
        """Once the run that the records name, if any, is known to go on no more."""
        over = history.started.nonce if history.started and history.started.nonce != "me" else ""
        return take(at.Checking("me", alone, over), ev.LookedUp(NOW, history), copy)

    def test_done_is_done(self) -> None:
        assert self.look_up(History(done=DONE, failed=FAILED)) == CLOSED

    def test_a_failed_attempt_is_helped_on_at_its_recorded_time(self) -> None:
        successor, due = armed(self.look_up(History(failed=FAILED)))
        assert (successor.attempt, successor.hop, due) == (2, 1, NOW + 5)

    def test_the_helped_successor_has_a_hop_above_the_copy_in_hand(self) -> None:
        successor, _ = armed(self.look_up(History(failed=FAILED), delivery(replace(TASK, hop=4))))
        assert successor.hop == 5

    def test_what_nothing_is_known_of_runs_unmarked_if_it_came_once(self) -> None:
        assert self.look_up(History()) == (RUNNING, (do.Execute(),))

    @pytest.mark.parametrize(
        "copy",
        [
            pytest.param(delivery(delivered=2), id="redelivered"),
            pytest.param(delivery(replace(TASK, waits=1, hop=1)), id="waited for a lock"),
            pytest.param(delivery(replace(TASK, offers=1, hop=1)), id="offered again"),
        ],
    )
    def test_what_may_have_started_is_marked_first(self, copy: Delivery) -> None:
        phase, (mark,) = self.look_up(History(), copy)
        assert phase == at.Marking("me", crashes=1)
        assert mark == do.Mark(Started("t", "app:Fit", 1, "w", NOW, "me", 1, lane=LANE), expected=0)

    @pytest.mark.parametrize(
        "copy",
        [
            pytest.param(replace(delivery(), doubted=True), id="doubted"),
            pytest.param(replace(delivery(), resent=True), id="resent"),
            pytest.param(replace(delivery(replace(TASK, attempt=2, hop=1)), fired=True), id="a successor"),
            pytest.param(replace(delivery(replace(TASK, parent="p")), fired=True), id="a delayed child"),
        ],
    )
    def test_what_may_have_a_second_copy_writes_its_start_and_counts_no_crash(self, copy: Delivery) -> None:
        phase, (mark,) = self.look_up(History(), copy)
        assert phase == at.Marking("me", crashes=0)
        record = Started("t", "app:Fit", copy.task.attempt, "w", NOW, "me", 0, parent=copy.task.parent, lane=LANE)
        assert mark == do.Mark(record, expected=0)

    def test_a_plain_schedule_that_fired_writes_nothing(self) -> None:
        assert self.look_up(History(), replace(delivery(), fired=True)) == (RUNNING, (do.Execute(),))

    @pytest.mark.parametrize("crashes", [0, 1, 3])
    @pytest.mark.parametrize("over", ["", "a third"])
    def test_before_another_start_is_counted_its_worker_is_asked(self, crashes: int, over: str) -> None:
        result = take(at.Checking("me", over=over), ev.LookedUp(NOW, started(crashes)), delivery(delivered=2))
        assert result == (at.Asking("me", "other"), (do.Ask("other"),))

    def test_a_start_that_was_taken_back_is_nobodys(self) -> None:
        taken_back = History(started=Started("t", "app:Fit", 1, "other", NOW, "", 0, ended=True), started_seq=3)
        phase, (mark,) = self.look_up(taken_back)
        assert phase == at.Marking("me", crashes=0)
        assert mark == do.Mark(Started("t", "app:Fit", 1, "w", NOW, "me", 0, lane=LANE), expected=3)

    def test_a_start_that_was_only_noted_is_no_crash(self) -> None:
        phase, (mark,) = self.look_up(started(0), delivery(delivered=2))
        assert phase == at.Marking("me", crashes=1)
        assert isinstance(mark, do.Mark)
        assert mark.expected == 3

    def test_a_mark_without_an_outcome_waits_to_be_alone(self) -> None:
        assert self.look_up(started(1)) == (at.Isolating("me"), (do.Isolate(),))

    def test_a_batch_that_left_its_mark_waits_to_be_alone_by_halves_and_no_crash_counts_yet(self) -> None:
        crashed = History(started=Started("t", "app:Fit", 1, "other", NOW, "", 0, half="b-1"), started_seq=3)
        assert self.look_up(crashed) == (at.Isolating("me", "b-1"), (do.Isolate(),))
        phase, (mark,) = self.look_up(crashed, alone=True)
        assert phase == at.Marking("me", crashes=1, alone=True)
        assert isinstance(mark, do.Mark)
        assert mark.expected == 3

    def test_alone_it_is_marked_with_one_crash_more(self) -> None:
        phase, (mark,) = self.look_up(started(2), alone=True)
        assert phase == at.Marking("me", crashes=3, alone=True)
        assert isinstance(mark, do.Mark)
        assert (mark.record.crashes, mark.expected) == (3, 3)

    @pytest.mark.parametrize("alone", [False, True])
    def test_too_many_crashes_are_a_dead_letter(self, alone: bool) -> None:
        record = committed(self.look_up(started(3), alone=alone))
        assert (record.state, record.kind, record.crashes) == (State.DROPPED, "dead", 3)
        assert record.letter is not None
        assert record.letter.reason is Reason.CRASHED

    def test_its_own_mark_whose_answer_was_lost_is_recognised(self) -> None:
        assert self.look_up(started(2, nonce="me")) == (at.Running("me", 3, 2), (do.Execute(),))

    def test_without_an_answer_the_records_are_read_again(self) -> None:
        phase = at.Checking("me", alone=True)
        assert take(phase, ev.Uncertain()) == (phase, (do.LookUp(),))


class TestAsking:
    PHASE = at.Asking("me", "other", alone=True)

    def test_what_goes_on_elsewhere_is_left_alone_and_looked_at_later(self) -> None:
        later, due = armed(take(self.PHASE, ev.Answered(NOW, goes_on=True)))
        assert (later.attempt, later.hop) == (1, 1)
        assert due > NOW

    def test_a_worker_that_is_missed_soon_after_the_brokers_start_may_still_come_back(self) -> None:
        later, _ = armed(take(self.PHASE, ev.Answered(NOW, None, NOW - RULES.ack_wait_s / 2 + 1)))
        assert later.hop == 1

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(ev.Answered(NOW, goes_on=False, settled_at=NOW), id="it is there and says no"),
            pytest.param(ev.Answered(NOW, None, NOW - RULES.ack_wait_s / 2), id="it is not there"),
        ],
    )
    def test_what_does_not_may_have_ended_meanwhile(self, answer: ev.Answered) -> None:
        assert take(self.PHASE, answer) == (at.Checking("me", True, "other"), (do.LookUp(),))

    def test_without_an_answer_the_records_are_read_again(self) -> None:
        assert take(self.PHASE, ev.Uncertain()) == (at.Checking("me", alone=True), (do.LookUp(),))


class TestIsolatingAndMarking:
    def test_once_alone_the_records_are_read_again(self) -> None:
        assert take(at.Isolating("me"), ev.Isolated()) == (at.Checking("me", alone=True), (do.LookUp(),))

    def test_a_marked_task_runs_and_remembers_its_mark(self) -> None:
        assert take(at.Marking("me", 2), ev.Marked(7)) == (MARKED, (do.Execute(),))

    @pytest.mark.parametrize("event", [ev.MarkRefused(), ev.Uncertain()])
    @pytest.mark.parametrize("alone", [False, True])
    def test_a_mark_that_may_not_stand_is_looked_up_and_who_is_alone_stays_alone(
        self, event: ev.Event, alone: bool
    ) -> None:
        result = take(at.Marking("me", 2, alone), event)
        assert result == (at.Checking("me", alone), (do.LookUp(),))


class TestRunning:
    def test_success_is_committed(self) -> None:
        children = (Child("t.0", "app:Fit", str(LANE), None),)  # type: ignore[arg-type]
        record = committed(take(RUNNING, replace(RETURNED, children=children)))
        assert (record.state, bytes(record.result), record.children) == (State.COMPLETED, b"42", children)
        assert (record.nonce, record.attempt, record.worker) == ("me", 1, "w")

    def test_a_failure_with_a_time_is_recorded_before_its_successor(self) -> None:
        phase, effects = take(RUNNING, RETRIED)
        assert isinstance(phase, at.Failing)
        assert effects == (do.RecordFailure(phase.record),)
        assert (phase.record.attempt, phase.record.next_at, phase.record.next_hop) == (1, NOW + 10, 1)

    def test_a_failure_without_a_time_is_the_end(self) -> None:
        record = committed(take(RUNNING, RAISED))
        assert (record.state, record.letter, record.discarded) == (State.FAILED, None, True)

    @pytest.mark.parametrize(
        ("task", "rules"),
        [
            pytest.param(TASK, replace(RULES, dlq_eligible=True), id="eligible"),
            pytest.param(replace(TASK, join="j"), RULES, id="member of a join"),
        ],
    )
    def test_a_failure_that_someone_keeps_is_a_dead_letter(self, task: Task, rules: Rules) -> None:
        record = committed(take(RUNNING, RAISED, delivery(task), rules))
        assert record.letter is not None
        assert (record.letter.reason, record.discarded) == (Reason.EXHAUSTED, False)

    def test_a_snoozed_task_comes_back_with_the_same_attempt(self) -> None:
        successor, due = armed(take(RUNNING, ev.Snoozed(NOW + 60)))
        assert (successor.attempt, successor.hop, due) == (1, 1, NOW + 60)

    def test_a_snooze_takes_its_mark_back_first(self) -> None:
        _, (unmark, arm) = take(MARKED, ev.Snoozed(NOW + 60))
        assert isinstance(unmark, do.Unmark)
        assert (unmark.record.crashes, unmark.record.nonce, unmark.expected) == (1, "", 7)
        assert isinstance(arm, do.Arm)

    def test_an_interrupted_task_goes_back(self) -> None:
        assert take(RUNNING, INTERRUPTED) == GIVEN_BACK

    def test_an_interruption_takes_its_mark_back_first(self) -> None:
        phase, (unmark, *rest) = take(MARKED, INTERRUPTED)
        assert (phase, tuple(rest)) == GIVEN_BACK
        assert isinstance(unmark, do.Unmark)

    def test_a_note_that_is_taken_back_was_no_crash_before_either(self) -> None:
        _, (unmark, *_) = take(at.Running("me", mark=7), INTERRUPTED)
        assert isinstance(unmark, do.Unmark)
        assert (unmark.record.crashes, unmark.record.ended) == (0, True)

    def test_an_interrupted_task_that_must_not_run_again_is_dropped(self) -> None:
        record = committed(take(RUNNING, INTERRUPTED, rules=replace(RULES, drop_on_shutdown=True)))
        assert (record.state, record.letter, record.discarded) == (State.DROPPED, None, True)

    def test_a_dropped_member_of_a_join_is_a_dead_letter(self) -> None:
        rules = replace(RULES, drop_on_shutdown=True)
        record = committed(take(RUNNING, INTERRUPTED, delivery(replace(TASK, join="j", member=0)), rules))
        assert record.letter is not None
        assert (record.state, record.letter.reason, record.kind) == (State.DROPPED, Reason.UNRETRYABLE, "dead")

    def test_a_lost_lease_interrupts(self) -> None:
        assert take(RUNNING, ev.LeaseGone()) == (replace(RUNNING, lost=True), (do.Interrupt(),))

    @pytest.mark.parametrize("event", [RETURNED, RAISED, RETRIED, INTERRUPTED], ids=lambda event: type(event).__name__)
    def test_whatever_ends_without_its_lease_runs_again(self, event: ev.Event) -> None:
        rules = replace(RULES, drop_on_shutdown=True)
        assert take(replace(RUNNING, lost=True), event, rules=rules) == GIVEN_BACK


class TestCommitting:
    def test_once_it_stands_the_locks_go_and_the_acknowledgement_is_last(self) -> None:
        assert take(at.Committing(DONE), ev.Written()) == CLOSED

    def test_without_an_answer_it_is_repeated(self) -> None:
        phase = at.Committing(DONE, RUNNING)
        assert take(phase, ev.Uncertain()) == (phase, (do.Commit(DONE),))

    @pytest.mark.parametrize("event", [RETURNED, RAISED, INTERRUPTED], ids=lambda event: type(event).__name__)
    def test_it_is_not_repeated_once_the_lease_is_lost(self, event: ev.Event) -> None:
        rules = replace(RULES, drop_on_shutdown=True)
        sent, _ = take(RUNNING, event, rules=rules)
        warned, effects = take(sent, ev.LeaseGone(), rules=rules)
        assert effects == ()
        assert take(warned, ev.Written(), rules=rules) == CLOSED
        assert take(warned, ev.Uncertain(), rules=rules) == GIVEN_BACK

    def test_an_end_without_a_run_needs_no_lease(self) -> None:
        phase = at.Committing(DONE)
        assert take(phase, ev.LeaseGone()) == (phase, ())


class TestReserving:
    LIMITED = replace(RULES, limited=True)
    PHASE = at.Reserving(RUNNING)
    RESERVE = (do.Reserve(),)

    @pytest.mark.parametrize(
        ("phase", "event", "run"),
        [
            (at.Buffered(), ev.Opened(NOW, "me"), RUNNING),
            (at.Locking("me", suspect=False), ev.Locked(), RUNNING),
            (at.Checking("me"), ev.LookedUp(NOW, History()), RUNNING),
            (at.Checking("me"), ev.LookedUp(NOW, started(1, "me")), at.Running("me", 3, 1)),
            (at.Marking("me", 2), ev.Marked(7), MARKED),
        ],
        ids=lambda one: type(one).__name__,
    )
    def test_rate_limiters_come_last(self, phase: at.Phase, event: ev.Event, run: at.Running) -> None:
        assert take(phase, event, rules=self.LIMITED) == (at.Reserving(run), self.RESERVE)
        assert take(at.Reserving(run), ev.Granted(), rules=self.LIMITED) == (run, (do.Execute(),))

    def test_what_need_not_wait_long_is_set_aside_without_its_locks(self) -> None:
        grants = {"share": NOW + 0.7}
        result = take(self.PHASE, ev.Throttled(NOW, NOW + 0.7, grants))
        assert result == (at.SetAside(), (do.ReleaseLocks(), do.SetAside(grants)))

    @pytest.mark.parametrize(
        "event", [THROTTLED, replace(THROTTLED, until=NOW + 0.1, room=False)], ids=["far", "no room"]
    )
    def test_else_it_goes_away_without_its_locks_and_returns_before_its_place(self, event: ev.Throttled) -> None:
        result = take(self.PHASE, event, delivery(replace(TASK, waits=1, waiting_since=NOW - 9)))
        task, due = armed(result)
        assert result[1][0] == do.ReleaseLocks()
        assert (task.grants, task.hop, task.attempt, task.waits) == (event.grants, 1, 1, 2)
        assert task.waiting_since is None
        assert due == max(NOW, event.until - 0.5)

    def test_a_start_that_was_marked_and_did_not_come_is_no_crash(self) -> None:
        for event in (THROTTLED, replace(THROTTLED, until=NOW)):
            _, (unmark, *_rest) = take(at.Reserving(MARKED), event)
            assert isinstance(unmark, do.Unmark)
            assert (unmark.record.crashes, unmark.expected) == (1, 7)

    def test_who_is_too_late_or_has_no_answer_asks_anew(self) -> None:
        marked = at.Reserving(MARKED)
        assert take(marked, ev.Uncertain()) == (marked, self.RESERVE)

    def test_without_an_answer_what_has_no_mark_may_be_with_others(self) -> None:
        assert take(self.PHASE, ev.Uncertain()) == (at.Checking("me"), (do.LookUp(),))
        assert take(RUNNING, ev.GrantVoid()) == (self.PHASE, self.RESERVE)

    def test_no_other_attempt_uses_its_places(self) -> None:
        task = replace(TASK, grants={"share": NOW})
        successors = [
            armed(take(at.Failing(FAILED, RUNNING), ev.Written(), delivery(task)))[0],
            armed(take(RUNNING, ev.Snoozed(NOW), delivery(task)))[0],
            parked(take(at.Locking("me", suspect=False), BLOCKED, delivery(task)))[0],
        ]
        assert [one.grants for one in successors] == [None, None, None]


class TestFailing:
    PHASE = at.Failing(FAILED, RUNNING)

    def test_the_successor_follows_its_record(self) -> None:
        successor, due = armed(take(self.PHASE, ev.Written()))
        assert (successor.attempt, successor.hop, due) == (2, 1, NOW + 5)

    def test_the_successor_of_another_copy_is_helped(self) -> None:
        other = replace(FAILED, next_at=NOW + 99, next_hop=3)
        successor, due = armed(take(self.PHASE, ev.Overtaken(other)))
        assert (successor.attempt, successor.hop, due) == (2, 3, NOW + 99)

    def test_waits_and_offers_start_anew(self) -> None:
        successor, _ = armed(take(self.PHASE, ev.Written(), delivery(replace(TASK, waits=3, offers=2))))
        assert (successor.waits, successor.offers) == (0, 0)

    def test_without_an_answer_it_is_repeated(self) -> None:
        assert take(self.PHASE, ev.Uncertain()) == (self.PHASE, (do.RecordFailure(FAILED),))


@pytest.mark.parametrize(
    ("phase", "again"),
    [
        (at.Arming(TASK, NOW), do.Arm(TASK, NOW)),
        (at.Forwarding(TASK), do.Forward(TASK)),
    ],
    ids=["arming", "forwarding"],
)
def test_a_copy_is_acknowledged_when_its_successor_stands(phase: at.Phase, again: do.Effect) -> None:
    assert take(phase, ev.Uncertain()) == (phase, (again,))
    assert take(phase, ev.Written()) == CLOSED


_PHASES: Final = {type(p): p for p in (
    at.Buffered(), at.Locking("me", suspect=True), at.Checking("me"), at.Isolating("me"), at.Marking("me", 1), RUNNING,
    at.Committing(DONE), at.Failing(FAILED, RUNNING), at.Arming(TASK, NOW), at.Forwarding(TASK), at.Closed(),
    at.Reserving(RUNNING), at.SetAside(), at.Skipping("me", "late"), at.Expiring("me", BLOCKED.blocked),
    at.Parking(TASK, BLOCKED.blocked, NOW), at.Asking("me", "other"),
)}  # fmt: skip
_EVENTS: Final = {type(e): e for e in (
    ev.Opened(NOW, "me"), ev.Locked(), BLOCKED, ev.LookedUp(NOW, History()), ev.Isolated(), ev.Marked(1),
    ev.MarkRefused(), RETURNED, RAISED, ev.Snoozed(NOW), INTERRUPTED, ev.LeaseGone(), ev.Written(),
    ev.Overtaken(FAILED), ev.Uncertain(), ev.Granted(), THROTTLED, ev.GrantVoid(),
    ev.Flagged(NOW, "me", FLAG), ev.Honoured(NOW, NOW, FLAG), ev.Answered(NOW, goes_on=True),
)}  # fmt: skip


def test_a_pair_that_cannot_be_asserts() -> None:
    impossible = [(p, e) for p in _PHASES for e in _EVENTS if (p, e) not in TABLE]
    assert len(impossible) + len(TABLE) == len(_PHASES) * len(_EVENTS)
    for phase, event in impossible:
        with pytest.raises(AssertionError, match=f"{event.__name__} cannot happen in {phase.__name__}"):
            take(_PHASES[phase], _EVENTS[event])


def test_nothing_happens_after_the_close() -> None:
    assert not any(phase in {at.Closed, at.SetAside} for phase, _ in TABLE)


@pytest.mark.parametrize(
    ("copy", "suspect"),
    [
        pytest.param(delivery(), False, id="new"),
        pytest.param(delivery(delivered=2), True, id="redelivered"),
        pytest.param(replace(delivery(), fired=True), True, id="fired"),
        pytest.param(replace(delivery(), resent=True), True, id="resent"),
        pytest.param(replace(delivery(), doubted=True), True, id="doubted"),
    ],
)
def test_what_may_have_run_is_suspect(copy: Delivery, suspect: bool) -> None:
    assert is_suspect(copy) is suspect


@pytest.mark.parametrize(
    ("copy", "boot", "doubtful"),
    [
        pytest.param(delivery(), Boot(), True, id="nothing is known of the broker"),
        pytest.param(delivery(), Boot(4, NOW), False, id="stored after the broker's start"),
        pytest.param(delivery(), Boot(5, NOW), True, id="stored before the broker's start"),
        pytest.param(replace(delivery(), fired=True, stored_at=NOW - 1), Boot(4, NOW), True, id="fired by the start"),
        pytest.param(replace(delivery(), fired=True, stored_at=NOW), Boot(4, NOW), False, id="fired later"),
    ],
)
def test_what_the_brokers_start_may_have_doubled_is_doubtful(copy: Delivery, boot: Boot, doubtful: bool) -> None:
    assert is_doubtful(copy, boot) is doubtful
