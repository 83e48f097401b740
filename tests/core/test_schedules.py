"""When schedules are due: grids, cron dialects, daylight-saving changes, recurrence rules."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from natsume.exceptions import UsageError
from natsume.schedules import CronSchedule, IntervalSeconds, RRuleSchedule, TaskScheduleBase, parse

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PARIS = "Europe/Paris"  # falls back on 2026-10-25 at 01:00 UTC, springs forward on 2026-03-29 at 01:00 UTC
MOMENTS = st.integers(1_577_836_800, 2_051_222_400).map(lambda at: datetime.fromtimestamp(at + 0.25, UTC))
SCHEDULES: list[TaskScheduleBase] = [
    IntervalSeconds(1),
    IntervalSeconds(7),
    IntervalSeconds(5400),
    CronSchedule("*/10 * * * *", PARIS),
    CronSchedule("30 2 * * *", PARIS),
    CronSchedule("15 30 8 1,15 * MON-FRI"),
    RRuleSchedule("FREQ=SECONDLY;INTERVAL=4"),
    RRuleSchedule("FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0", timezone=PARIS),
    RRuleSchedule("FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=18;BYMINUTE=0;BYSECOND=0", datetime(2019, 1, 1, tzinfo=UTC)),
]


def times(schedule: TaskScheduleBase, after: datetime, count: int) -> list[str]:
    """The next due times, in UTC."""
    due = islice(schedule.occurrences(after, after + timedelta(days=4000)), count)
    return [f"{one:%Y-%m-%dT%H:%M:%S}" for one in due]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.text)
@settings(deadline=None, max_examples=50)
@given(t=MOMENTS)
def test_next_and_previous_are_neighbours(schedule: TaskScheduleBase, t: datetime) -> None:
    following, last = schedule.next_after(t), schedule.previous(t)
    assert following is not None
    assert last is not None
    assert last <= t < following
    assert schedule.next_after(last) == following
    assert schedule.previous(following) == following
    assert schedule.previous(following - timedelta(microseconds=1)) == last
    assert {following.microsecond, last.microsecond} == {0}


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.text)
def test_the_text_is_the_schedule(schedule: TaskScheduleBase) -> None:
    assert parse(schedule.text) == schedule


FIELDS = st.tuples(
    st.sampled_from(["*", "0", "*/15", "1,2,59", "10-20/3"]),
    st.sampled_from(["*", "6", "*/4", "0,23", "8-17"]),
    st.sampled_from(["*", "1", "*/10", "29-31"]),
    st.sampled_from(["*", "2", "JAN,JUL", "3-11/4"]),
    st.sampled_from(["*", "0", "7", "MON-FRI", "6"]),
)


@given(fields=FIELDS, t=MOMENTS)
def test_five_fields_in_utc_are_as_croniter_has_them(fields: tuple[str, ...], t: datetime) -> None:
    if fields[2] != "*" and fields[3] != "*":
        fields = (*fields[:2], "1", *fields[3:])  # else a date that does not exist may be drawn
    if fields[2].startswith("*/") and fields[4] != "*":
        return  # croniter takes */10 for no restriction beside a weekday, the server does not
    expression = " ".join(fields)
    expected = croniter(expression, t, ret_type=datetime).get_next()
    assert CronSchedule(expression).next_after(t) == expected


def test_six_fields_have_the_seconds_first() -> None:
    assert times(CronSchedule("30 0 6 * * *"), NOON, 2) == ["2026-11-22T06:00:30", "2026-11-23T06:00:30"]


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (IntervalSeconds(1), "* * * * * *"),
        (IntervalSeconds(20), "0,20,40 * * * * *"),
        (IntervalSeconds(60), "0 * * * * *"),
        (IntervalSeconds(1800), "0 0,30 * * * *"),
        (IntervalSeconds(3600), "0 0 * * * *"),
        (IntervalSeconds(43200), "0 0 0,12 * * *"),
        (IntervalSeconds(86400), "0 0 0 * * *"),
        (IntervalSeconds(7), None),
        (IntervalSeconds(5400), None),
        (IntervalSeconds(172800), None),
        (CronSchedule("0 6 * * 7"), "0 0 6 * * 0"),
        (CronSchedule("0 6 ? JAN,DEC sat-sat"), "0 0 6 * 1,12 6"),
        (RRuleSchedule("FREQ=DAILY"), None),
    ],
)
def test_what_the_server_repeats(schedule: TaskScheduleBase, text: str | None) -> None:
    assert schedule.server_text == text


@pytest.mark.parametrize("seconds", [1, 15, 300, 3600, 21600, 86400])
def test_an_interval_is_the_same_grid_as_its_cron_expression(seconds: int) -> None:
    interval = IntervalSeconds(seconds)
    assert interval.server_text is not None
    assert times(interval, NOON, 10) == times(CronSchedule(interval.server_text), NOON, 10)


class TestDaylightSaving:
    def test_a_repeated_hour_is_one_occurrence_at_a_fixed_hour(self) -> None:
        schedule = CronSchedule("30 2 * * *", PARIS)
        before = datetime(2026, 10, 24, 12, tzinfo=UTC)
        assert times(schedule, before, 2) == ["2026-10-25T00:30:00", "2026-10-26T01:30:00"]

    def test_an_hourly_schedule_goes_on_through_the_repeated_hour(self) -> None:
        schedule = CronSchedule("30 * * * *", PARIS)
        before = datetime(2026, 10, 24, 23, 45, tzinfo=UTC)
        assert times(schedule, before, 3) == ["2026-10-25T00:30:00", "2026-10-25T01:30:00", "2026-10-25T02:30:00"]

    def test_a_time_that_the_clock_leaves_out_is_no_occurrence(self) -> None:
        before = datetime(2026, 3, 28, 12, tzinfo=UTC)
        expected = ["2026-03-30T00:30:00", "2026-03-31T00:30:00"]
        assert times(CronSchedule("30 2 * * *", PARIS), before, 2) == expected
        rule = RRuleSchedule("FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0", timezone=PARIS)
        assert times(rule, before, 2) == expected

    def test_half_an_hour_of_change(self) -> None:
        schedule = CronSchedule("45 1 * * *", "Australia/Lord_Howe")  # falls back by 30 min at 02:00
        before = datetime(2026, 4, 4, 0, tzinfo=UTC)
        assert times(schedule, before, 2) == ["2026-04-04T14:45:00", "2026-04-05T15:15:00"]


def test_a_rule_ends_with_its_count() -> None:
    schedule = RRuleSchedule("FREQ=HOURLY;COUNT=3", NOON)
    assert times(schedule, NOON, 9) == ["2026-11-21T13:00:00", "2026-11-21T14:00:00"]
    assert schedule.next_after(NOON + timedelta(hours=2)) is None
    assert schedule.previous(NOON - timedelta(seconds=1)) is None


def test_a_sparse_rule_finds_its_last_year() -> None:
    schedule = RRuleSchedule("FREQ=HOURLY;BYMONTH=1;BYMONTHDAY=1;BYHOUR=0;BYMINUTE=0;BYSECOND=0")
    assert schedule.previous(NOON) == datetime(2026, 1, 1, tzinfo=UTC)
    assert schedule.next_after(NOON) == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: IntervalSeconds(0), "from 1 s"),
        (lambda: IntervalSeconds(1.5), "whole number of seconds"),  # type: ignore[arg-type]
        (lambda: IntervalSeconds(True), "whole number of seconds"),
        (lambda: CronSchedule("* * * *"), "has 4"),
        (lambda: CronSchedule("61 * * * *"), "'61' is not a number from 0 to 59"),
        (lambda: CronSchedule("* * * * FOO"), "'FOO' is not a number from 0 to 7 or a name"),
        (lambda: CronSchedule("*/0 * * * *"), "not a number above 0"),
        (lambda: CronSchedule("5-1 * * * *"), "ends before it starts"),
        (lambda: CronSchedule("0 0 30 2 *"), "a date that does not exist"),
        (lambda: CronSchedule("0 6 * * *", "Mars/Base"), "no time zone"),
        (lambda: RRuleSchedule("FREQ=OFTEN"), "OFTEN"),
        (lambda: RRuleSchedule("DTSTART:20260101T000000\nRRULE:FREQ=DAILY"), "time zone"),
        (lambda: RRuleSchedule("FREQ=DAILY;UNTIL=20000101T000000Z", NOON), "never happens"),
        (lambda: parse('{"often":1}'), "is no schedule"),
        (lambda: parse("[]"), "is no schedule"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(make: object, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as refused:
        make()  # type: ignore[operator]
    assert "\n" not in str(refused.value).replace("\\n", "")
