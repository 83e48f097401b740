"""What is to be done about the schedules in the broker: who may change what, and what was missed."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from natsume.core.reconcile import Put, Remove, Wanted, missed, plan
from natsume.enums import CatchUp
from natsume.model.tick import Entry, Mark, Present, Ran, ScheduleKey
from natsume.schedules import IntervalSeconds, RRuleSchedule

NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
KEY = ScheduleKey("a:B")
ENTRY = Entry(KEY, IntervalSeconds(60).text, "task.normal.small.a.B", b"{}", 100.0)
OTHER = replace(ENTRY, text=IntervalSeconds(30).text)
ODD = replace(ENTRY, text=IntervalSeconds(7).text)


def lying(entry: Entry, sequence: int = 5, generation: float | None = None) -> Present:
    entry = entry if generation is None else replace(entry, generation=generation)
    return Present(entry.subject, sequence, 0.0, entry)


def planned(wanted, present=(), marks=None, *, known=("a:B",), generation=100.0):
    entries = {entry.key: Wanted(entry) for entry in wanted}
    return plan(entries, known, present, marks or {}, generation, NOW)


@pytest.mark.parametrize(
    ("wanted", "present", "marks", "expected"),
    [
        pytest.param([ENTRY], [], {}, [Put(ENTRY)], id="missing"),
        pytest.param([ENTRY], [lying(ENTRY)], {}, [], id="right"),
        pytest.param([ENTRY], [lying(ENTRY, generation=1)], {}, [], id="right since long"),
        pytest.param([OTHER], [lying(ENTRY, generation=1)], {}, [Put(OTHER, 5)], id="changed"),
        pytest.param([OTHER], [lying(ENTRY, generation=200)], {}, [], id="changed by a newer one"),
        pytest.param([], [lying(ENTRY)], {}, [Remove(lying(ENTRY), Mark(removed=100.0))], id="no longer wanted"),
        pytest.param([], [lying(ENTRY, generation=200)], {}, [], id="brought by a newer one"),
        pytest.param([ENTRY], [], {KEY.id: Mark(removed=200.0)}, [], id="removed by a newer one"),
        pytest.param([ENTRY], [], {KEY.id: Mark(removed=50.0)}, [Put(ENTRY)], id="removed by an older one"),
        pytest.param([ENTRY], [], {KEY.id: Mark("me")}, [], id="paused"),
        pytest.param([ENTRY], [lying(ENTRY)], {KEY.id: Mark("me")}, [Remove(lying(ENTRY))], id="paused just now"),
        pytest.param([], [Present("cron.x.Y.z._", 7, 0.0)], {}, [], id="not ours"),
    ],
)
def test_the_table(wanted, present, marks, expected) -> None:
    assert planned(wanted, present, marks) == expected


class TestALaterTasksFile:
    """What a command or a conductor that is gone has armed under an earlier one; both started later than we."""

    armed = lying(replace(ENTRY, generation=200.0, configured=7.0))

    def planned(self, wanted, present=(), marks=None, *, configured):
        entries = {entry.key: Wanted(entry) for entry in wanted}
        return plan(entries, ("a:B",), present, marks or {}, 100.0, NOW, configured)

    def test_its_change_is_everybodys(self) -> None:
        assert self.planned([OTHER], [self.armed], configured=8.0) == [Put(replace(OTHER, configured=8.0), 5)]
        removed = Mark(removed=100.0, configured=8.0)
        assert self.planned([], [self.armed], configured=8.0) == [Remove(self.armed, removed)]
        assert self.planned([ENTRY], [], {KEY.id: Mark(removed=200.0, configured=7.0)}, configured=8.0)

    @pytest.mark.parametrize("configured", [6.0, 7.0])
    def test_the_same_or_an_earlier_one_changes_nothing(self, configured) -> None:
        assert self.planned([OTHER], [self.armed], configured=configured) == []
        assert self.planned([], [self.armed], configured=configured) == []
        assert self.planned([ENTRY], [], {KEY.id: Mark(removed=200.0, configured=7.0)}, configured=configured) == []


def test_what_nobody_here_knows_is_left_alone() -> None:
    assert planned([], [lying(ENTRY)], known=()) == []


class TestOneOccurrenceAtATime:
    grid = IntervalSeconds(7)

    def at(self, seconds: float) -> Entry:
        return replace(ODD, due=self.grid.next_after(NOW + timedelta(seconds=seconds)))

    def test_the_next_is_armed(self) -> None:
        assert planned([ODD]) == [Put(self.at(0))]

    def test_one_that_lies_leads_on(self) -> None:
        assert planned([ODD], [lying(self.at(0))]) == []
        assert planned([ODD], [lying(self.at(-30))]) == [], "late: the broker is about to fire it"

    def test_of_several_the_earliest_stays(self) -> None:
        first, second = lying(self.at(0)), lying(self.at(7), 6)
        assert planned([ODD], [second, first]) == [Remove(second)]

    def test_another_schedule_takes_its_place(self) -> None:
        assert planned([ENTRY], [lying(self.at(0))]) == [Put(ENTRY), Remove(lying(self.at(0)))]
        assert planned([ODD], [lying(ENTRY)]) == [Put(self.at(0)), Remove(lying(ENTRY))]

    def test_a_rule_that_has_ended_is_not_armed(self) -> None:
        ended = replace(ENTRY, text=RRuleSchedule("FREQ=DAILY;COUNT=1", NOW - timedelta(days=3)).text)
        assert planned([ended]) == []
        assert planned([ended], [lying(ENTRY)]) == [Remove(lying(ENTRY))]


class TestMissed:
    now = NOW.timestamp()

    def find(self, catch_up: CatchUp, since_s: float, ran_s: float | None = None, window_s: float = 600.0) -> list[int]:
        """How many seconds ago the missed ones were due."""
        ran = None if ran_s is None else Ran("x", self.now - ran_s)
        found = missed(Wanted(ENTRY, catch_up, window_s), self.now - since_s, ran, self.now)
        return [int(self.now - due.timestamp()) for due in found]

    def test_once_is_the_last(self) -> None:
        assert self.find(CatchUp.ONCE, 500) == [30]

    def test_a_start_since_then_stands_for_it(self) -> None:
        assert self.find(CatchUp.ONCE, 500, ran_s=29) == []
        assert self.find(CatchUp.ONCE, 500, ran_s=31) == [30]

    def test_nothing_is_missed_before_the_schedule_was_there(self) -> None:
        assert self.find(CatchUp.ONCE, 29) == []
        assert self.find(CatchUp.ALL, 100) == [90, 30]

    def test_all_is_for_a_window(self) -> None:
        assert self.find(CatchUp.ALL, 10_000, window_s=200.0) == [150, 90, 30]

    def test_once_looks_as_far_back_as_starts_are_kept(self) -> None:
        assert self.find(CatchUp.ONCE, 10_000, window_s=20.0) == [30]
        weekly = Wanted(replace(ENTRY, text=IntervalSeconds(30 * 86_400).text))
        assert missed(weekly, 0.0, None, self.now) == []

    def test_skip_makes_up_nothing(self) -> None:
        assert self.find(CatchUp.SKIP, 500) == []
