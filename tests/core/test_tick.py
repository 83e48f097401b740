"""A tick's id, its turn and its successor, from nothing but the message."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import phases as at
from natsume.core import tick
from natsume.core.attempt import step
from natsume.core.delivery import Delivery, Rules
from natsume.core.tick import TickRules
from natsume.enums import CatchUp, Overlap, Priority, Size
from natsume.model import subject
from natsume.model.codec import decode, task_headers
from natsume.model.record import Done, Failed, Failure, History, Started
from natsume.model.subject import Lane
from natsume.model.task import State, Task
from natsume.model.tick import ScheduleKey, parse_id, parse_subject
from natsume.schedules import CronSchedule, IntervalSeconds, RRuleSchedule

LANE = Lane(Priority.NORMAL, Size.SMALL)
KEY = ScheduleKey("app:Sync", "default", "lhcb")
MINUTE = IntervalSeconds(60)
DUE = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NOW = DUE.timestamp()
TICK = Task(KEY.tick(DUE), "app:Sync", LANE, b"{}", schedule=MINUTE.text)
ONCE, SKIP, ALL = (TickRules(catch_up) for catch_up in (CatchUp.ONCE, CatchUp.SKIP, CatchUp.ALL))
TEXTS = st.text(min_size=1, max_size=20)


def fired(scheduler: str, upcoming: str, text: str) -> Task:
    lines = [f"Nats-Scheduler: {scheduler}", f"Nats-Schedule-Next: {upcoming}", f"Natsume-Schedule: {text}"]
    headers = ("NATS/1.0\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode()
    return tick.identified(decode(LANE, "app:Sync", "derived", headers, b"{}").task, headers)


def due(minutes: float, schedule: ScheduleKey = KEY) -> Task:
    return replace(TICK, id=schedule.tick(DUE + timedelta(minutes=minutes)))


@given(actor=TEXTS, instance=TEXTS.filter(lambda text: "@" not in text), vo=st.none() | TEXTS)
def test_subjects_and_ids_are_read_back(actor: str, instance: str, vo: str | None) -> None:
    key = ScheduleKey(f"g:{actor}", instance, vo)
    assert parse_subject(key.subject()) == (key, None)
    assert parse_subject(key.subject(DUE)) == (key, DUE)
    assert parse_id(key.tick(DUE)) == (key.id, DUE)
    assert subject.is_id(key.tick(DUE))


def test_schedules_have_different_ids() -> None:
    keys = [ScheduleKey("a:B"), ScheduleKey("a:B", "default", "_"), ScheduleKey("b:B"), ScheduleKey("a:B", "x"), KEY]
    assert len({key.id for key in keys}) == len({key.subject() for key in keys}) == len(keys)


@pytest.mark.parametrize(
    ("text", "upcoming"),
    [
        (MINUTE.text, "2026-11-21T12:01:00Z"),
        (CronSchedule("0 * * * *", "Europe/Paris").text, "2026-11-21T14:00:00+01:00"),
    ],
)
def test_the_id_is_the_schedule_and_the_due_time(text: str, upcoming: str) -> None:
    task = fired(KEY.subject(), upcoming, text)
    assert (task.id, task.tenant, task.submitted_at) == (KEY.tick(DUE), "lhcb", NOW)


def test_the_second_firing_in_a_repeated_hour_is_the_same_tick() -> None:
    text = CronSchedule("30 2 * * *", "Europe/Paris").text
    first = fired(KEY.subject(), "2026-10-25T02:30:00+01:00", text)
    second = fired(KEY.subject(), "2026-10-26T02:30:00+01:00", text)
    assert first.id == second.id == KEY.tick(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))


def test_a_single_occurrence_bears_its_time_in_its_subject() -> None:
    assert fired(KEY.subject(DUE), "purge", IntervalSeconds(7).text).id == KEY.tick(DUE)


@pytest.mark.parametrize(
    ("scheduler", "upcoming", "text"),
    [
        ("later.x.1", "purge", ""),
        ("cron.a.B.mine._", "2026-11-21T12:01:00Z", ""),
        ("cron.a.B.mine._", "2026-11-21T12:01:00Z", '{"never": 1}'),
        ("cron.a.B.mine._", "soon", MINUTE.text),
        ("cron.a.B", "2026-11-21T12:01:00Z", MINUTE.text),
    ],
)
def test_what_is_not_ours_keeps_its_id(scheduler: str, upcoming: str, text: str) -> None:
    assert fired(scheduler, upcoming, text).id == "derived"


def test_a_later_hop_is_still_a_tick() -> None:
    hop = replace(TICK, hop=2, waits=1)
    headers = b"NATS/1.0\r\nNats-Scheduler: later.x.2\r\n" + task_headers(hop) + b"\r\n"
    task = tick.identified(decode(LANE, "app:Sync", "derived", headers, b"{}").task, headers)
    assert (task.id, task.schedule, tick.due_of(task)) == (TICK.id, TICK.schedule, NOW)


class TestRefused:
    def test_the_first_that_is_due_after_the_holder_began_waits(self) -> None:
        holder = due(0).id
        answers = [tick.refused(due(minutes), ONCE, holder, NOW + 0.01) for minutes in (1, 2, 3)]
        assert [answer is None for answer in answers] == [True, False, False]
        assert "an earlier tick waited" in str(answers[1])

    @given(start=st.floats(0, 600), count=st.integers(1, 12))
    def test_at_most_one_of_those_to_come_waits(self, start: float, count: int) -> None:
        since = NOW + start
        later = [due(minutes) for minutes in range(count) if NOW + 60 * minutes > since]
        assert sum(tick.refused(task, ONCE, due(-1).id, since) is None for task in later) == min(1, len(later))

    def test_its_own_schedules_run_stands_for_what_was_due_before(self) -> None:
        assert "stands for it" in str(tick.refused(due(1), ONCE, due(0).id, NOW + 90))
        assert tick.refused(due(1), ALL, due(0).id, NOW + 90) is None

    def test_another_holder_is_waited_for(self) -> None:
        for holder in ("", "someone", due(0, ScheduleKey("app:Sync", "other")).id):
            assert tick.refused(due(1), ONCE, holder, NOW + 90) is None

    def test_a_copy_of_the_running_tick_is_not_skipped(self) -> None:
        assert tick.refused(TICK, TickRules(overlap=Overlap.SKIP), TICK.id, NOW + 0.01) is None

    def test_skip_lets_none_wait_and_a_retry_always_does(self) -> None:
        rules = TickRules(overlap=Overlap.SKIP)
        assert tick.refused(due(1), rules, due(0).id, NOW + 0.01) is not None
        assert tick.refused(replace(due(1), attempt=2), rules, due(0).id, NOW + 0.01) is None
        assert tick.refused(replace(due(1), schedule=None), rules, due(0).id, NOW + 0.01) is None


class TestCovered:
    @pytest.mark.parametrize(
        ("rules", "ran_at", "skipped"),
        [
            pytest.param(ONCE, -0.5, False, id="an earlier run does not"),
            pytest.param(ONCE, 0.0, True, id="a run since it was due does"),
            pytest.param(SKIP, 3.0, True, id="also where missed ones are not made up"),
            pytest.param(ALL, 3.0, False, id="not where all are to run"),
        ],
    )
    def test_a_run_stands_for_what_was_due(self, rules: TickRules, ran_at: float, skipped: bool) -> None:
        answer = tick.covered(TICK, rules, (due(-3).id, NOW + ran_at), NOW + 5)
        assert (answer is not None) == skipped

    def test_its_own_start_and_no_start_do_not(self) -> None:
        assert tick.covered(TICK, ONCE, (TICK.id, NOW + 1), NOW + 5) is None
        assert tick.covered(TICK, ONCE, None, NOW + 5) is None

    @given(lateness=st.integers(0, 500))
    def test_a_backlog_never_starves_a_schedule(self, lateness: int) -> None:
        """However late ticks start, a run is never followed by more skips than were due by its start."""
        ran, runs = None, []
        for minutes in range(60):
            task, start = due(minutes), NOW + 60 * minutes + lateness
            if tick.covered(task, ONCE, ran, start) is None:
                ran = (task.id, start)
                runs.append(start)
        assert all(later - earlier <= lateness + 60 for earlier, later in pairwise(runs))

    def test_all_is_for_a_window(self) -> None:
        rules = replace(ALL, window_s=600.0)
        assert tick.covered(TICK, rules, None, NOW + 600) is None
        assert "more than 600 s" in str(tick.covered(TICK, rules, None, NOW + 601))


class TestSuccessor:
    def headers(self, key_subject: str) -> bytes:
        return f"NATS/1.0\r\nNats-Scheduler: {key_subject}\r\nNatsume-Generation: 5.5\r\n\r\n".encode()

    def test_what_the_server_repeats_has_none(self) -> None:
        assert tick.successor(TICK, self.headers(KEY.subject()), "task.x", ONCE, NOW) is None

    @pytest.mark.parametrize(("rules", "expected"), [(ONCE, 28), (SKIP, 28), (ALL, 7)])
    def test_the_next_on_the_grid_follows(self, rules: TickRules, expected: int) -> None:
        schedule = IntervalSeconds(7)
        first = schedule.previous(DUE)
        task = replace(TICK, id=KEY.tick(first), schedule=schedule.text)
        late = first.timestamp() + 24
        entry = tick.successor(task, self.headers(KEY.subject(first)), "task.x", rules, late)
        assert entry is not None
        assert entry.due == first + timedelta(seconds=expected)
        assert (entry.key, entry.generation, entry.target) == (KEY, 5.5, "task.x")

    def test_a_chain_that_stood_still_for_long_begins_anew_where_its_window_does(self) -> None:
        task = replace(TICK, id=KEY.tick(DUE), schedule=IntervalSeconds(7).text)
        rules, away_s = replace(ALL, window_s=600.0), 30 * 86_400.0
        entry = tick.successor(task, self.headers(KEY.subject(DUE)), "task.x", rules, DUE.timestamp() + away_s)
        assert entry is not None
        assert entry.due is not None
        late_s = DUE.timestamp() + away_s - entry.due.timestamp()
        assert 600 - 7 <= late_s <= 600

    def test_a_rule_that_ends_has_none(self) -> None:
        task = replace(TICK, schedule=RRuleSchedule("FREQ=DAILY;COUNT=1", DUE).text)
        assert tick.successor(task, self.headers(KEY.subject(DUE)), "task.x", ONCE, NOW) is None


class TestTable:
    rules = Rules("app:Sync", LANE, worker="w", ticks=SKIP)
    skipping = at.Skipping("me", "late")

    def test_jitter_waits_in_the_broker_and_is_the_same_for_every_copy(self) -> None:
        drawn = [
            tick.starts_at(due(minutes), replace(ONCE, jitter_s=30.0)) - NOW - 60 * minutes for minutes in range(9)
        ]
        assert all(0 <= jitter < 30 for jitter in drawn)
        assert len(set(drawn)) == len(drawn)
        opened = ev.Opened(NOW, "me", not_before=NOW + 3)
        phase, _ = step(at.Buffered(), Delivery(TICK, b"", 1), self.rules, opened)
        assert phase == at.Arming(replace(TICK, hop=1), NOW + 3)
        assert tick.starts_at(replace(TICK, hop=1), replace(ONCE, jitter_s=30.0)) == 0.0

    @pytest.mark.parametrize(("late_s", "skipped"), [(0.4, False), (1.2, True)])
    def test_what_fires_late_is_skipped_where_nothing_is_made_up(self, late_s: float, skipped: bool) -> None:
        delivery = Delivery(TICK, b"", 1, fired=True, stored_at=NOW + late_s)
        phase, _ = step(at.Buffered(), delivery, self.rules, ev.Opened(NOW + 2, "me", suspect=True))
        assert isinstance(phase, at.Skipping) == skipped

    def test_only_what_never_started_is_skipped(self) -> None:
        delivery = Delivery(TICK, b"", 1)

        def looked_up(history: History) -> at.Phase:
            return step(self.skipping, delivery, self.rules, ev.LookedUp(NOW, history))[0]

        phase = looked_up(History())
        assert isinstance(phase, at.Committing)
        assert (phase.record.state, phase.record.failure) == (State.CANCELLED, Failure("Skipped", "late"))
        assert phase.record.letter is None
        done = Done(TICK.id, "app:Sync", State.COMPLETED, "n", "w", 1, NOW, NOW)
        failed = Failed(TICK.id, "app:Sync", 1, Failure("E", "no"), "w", NOW, NOW, NOW + 9, 1)
        assert looked_up(History(done=done)) == at.Closed()
        assert looked_up(History(failed=failed)) == at.Arming(replace(TICK, attempt=2, hop=1), NOW + 9)
        waiting = looked_up(History(started=Started(TICK.id, "app:Sync", 1, "w", NOW)))
        assert isinstance(waiting, at.Arming)
        assert waiting.task.waits == 1

    def test_no_answer_asks_again(self) -> None:
        assert step(self.skipping, Delivery(TICK, b"", 1), self.rules, ev.Uncertain()) == (
            self.skipping,
            (do.LookUp(),),
        )

    def test_a_covered_tick_is_skipped_under_its_lock_and_lets_it_go(self) -> None:
        delivery = Delivery(TICK, b"", 1, fired=True)
        event = ev.LookedUp(NOW + 9, History(), (due(-2).id, NOW + 1))
        phase, _ = step(at.Checking("me"), delivery, self.rules, event)
        assert isinstance(phase, at.Committing)
        assert step(phase, delivery, self.rules, ev.Written())[1] == (do.ReleaseLocks(), do.Acknowledge())
        started = History(started=Started(TICK.id, "app:Sync", 1, "w", NOW, crashes=1))
        assert isinstance(
            step(at.Checking("me"), delivery, self.rules, replace(event, history=started))[0], at.Isolating
        )
