"""Never more starts in any window than allowed, whatever arrives when, and however late it starts."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsume.core.gcra import Asked, Quota, lateness_s, left_s, reserve, unused, usable_s
from natsume.model import limits, times
from natsume.model.limit_rule import ConcurrencyRule, RateRule, Share

NOW = 1_795_245_577.0
rules = st.builds(
    RateRule,
    limit=st.integers(1, 50),
    window_s=st.sampled_from([0.01, 0.5, 1.0, 7.0, 3600.0]),
    burst=st.integers(1, 60),
)


class Arrival(msgspec.Struct):
    """A task: so many seconds after the one before, of so many items, not before, and so late (as a share)."""

    after_s: float
    items: int
    ahead_s: float
    late: float


arrivals = st.lists(
    st.builds(
        Arrival,
        after_s=st.one_of(st.just(0.0), st.floats(-0.1, 3.0)),
        items=st.one_of(st.just(1), st.integers(1, 80)),
        ahead_s=st.one_of(st.just(0.0), st.floats(0.0, 20.0)),
        late=st.one_of(st.just(0.0), st.just(1.0), st.floats(0.0, 1.0)),
    ),
    min_size=1,
    max_size=80,
)


def most_in_a_window(starts: Sequence[tuple[float, int]], window_s: float) -> int:
    """The most items of any window that begins with a start; its end counts, too."""
    return max(sum(items for at, items in starts if first <= at <= first + window_s) for first, _ in starts)


def spaced(rule: RateRule) -> float:
    return (rule.window_s + lateness_s(rule)) / rule.limit


@given(rules, arrivals)
def test_no_window_has_more_than_limit_and_burst(rule: RateRule, tasks: list[Arrival]) -> None:
    """Also when clocks run back, when tasks may not come at once, and when each start lags as it may."""
    quota, now, starts = Quota(), NOW, []
    for task in tasks:
        now += task.after_s * rule.window_s
        earliest = now + task.ahead_s * rule.window_s
        (at,), quota = reserve(quota, [Asked(rule, task.items, earliest)], now)
        if at is not None:
            assert at >= min(now, earliest) - 1e-6
            starts.append((at + task.late * lateness_s(rule), task.items))
    largest = max(task.items for task in tasks)
    # A float of today's time is good to a quarter of a microsecond.
    assert not starts or most_in_a_window(starts, rule.window_s - 1e-6) <= rule.limit + max(rule.burst, largest)


@given(st.integers(20, 60), st.integers(1, 5), st.integers(0, 100), st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_no_dense_window_has_more_either(limit: int, burst: int, late_to: int, lates: list[float]) -> None:
    """A crowd at once, the first of it as late as they may be: this is what the wider places are for."""
    rule = RateRule(limit, burst=burst)
    times, _ = reserve(Quota(), [Asked(rule, 1, NOW)] * (3 * limit), NOW)
    starts = []
    for number, at in enumerate(times):
        assert at is not None
        late = 1.0 if number < late_to else lates[number % len(lates)]
        starts.append((at + late * lateness_s(rule), 1))
    assert most_in_a_window(starts, rule.window_s - 1e-6) <= limit + burst


@given(rules, st.integers(1, 200))
def test_who_comes_at_once_starts_at_once_up_to_the_burst_and_then_evenly_spaced(rule: RateRule, count: int) -> None:
    given_at, quota = reserve(Quota(), [Asked(rule, 1, NOW)] * count, NOW)
    times = [at for at in given_at if at is not None]
    assert len(times) == count
    assert times[: rule.burst] == [pytest.approx(NOW)] * min(count, rule.burst)
    for one, two in pairwise(times[rule.burst - 1 :]):
        assert two - one == pytest.approx(spaced(rule), abs=1e-6)
    assert left_s(quota, NOW) == pytest.approx(count * spaced(rule), abs=1e-6)


def test_the_rate_is_reached_but_for_the_lateness() -> None:
    rule = RateRule(100)
    given_at, _ = reserve(Quota(), [Asked(rule, 1, NOW)] * 1000, NOW)
    assert given_at[-1] == pytest.approx(NOW + 999 * 1.05 / 100)


def test_a_task_of_many_items_pays_afterwards() -> None:
    rule = RateRule(10)
    times, _ = reserve(Quota(), [Asked(rule, 5, NOW), Asked(rule, 1, NOW)], NOW)
    assert times == [pytest.approx(NOW), pytest.approx(NOW + 5 * spaced(rule))]


def test_what_one_leaves_free_another_takes() -> None:
    """A task that waits for another limiter does not push the others behind it."""
    rule = RateRule(1)
    (far, near, again), quota = reserve(
        Quota(), [Asked(rule, 1, NOW + 10), Asked(rule, 1, NOW), Asked(rule, 1, NOW)], NOW
    )
    assert far == pytest.approx(NOW + 10)
    assert (near, again) == (pytest.approx(NOW), pytest.approx(NOW + spaced(rule)))
    (after,), _ = reserve(quota, [Asked(rule, 9, NOW)], NOW)
    assert after == pytest.approx(NOW + 10 + spaced(rule))


@given(rules, st.lists(st.floats(0, 100), max_size=60))
def test_the_gaps_are_few_apart_and_before_the_last_place(rule: RateRule, ahead: list[float]) -> None:
    quota = Quota()
    for s in ahead:
        _, quota = reserve(quota, [Asked(rule, 1, NOW + s * rule.window_s)], NOW)
    assert len(quota.gaps) <= limits.GAPS_MAX
    ends = [end for gap in quota.gaps for end in gap]
    assert ends == sorted(ends)
    assert not ends or ends[-1] <= quota.tat


def test_there_is_no_place_beyond_a_month() -> None:
    rule = RateRule(1, 86_400.0)
    places, quota = reserve(Quota(), [Asked(rule, 1, NOW)] * 100, NOW)
    assert places.count(None) == 100 - 30
    assert left_s(quota, NOW) < times.RESERVE_AHEAD_S + 2 * 86_400


def test_a_newer_rule_forgets_the_places_ahead_and_not_what_has_started() -> None:
    slow, fast = RateRule(1, 60.0), RateRule(100, 1.0, version=7)
    _, quota = reserve(Quota(), [Asked(slow, 1, NOW)] * 60, NOW)
    (at,), quota = reserve(quota, [Asked(fast, 1, NOW)], NOW)
    assert at is not None
    assert at <= NOW + 1.1
    (late,), after = reserve(quota, [Asked(slow, 1, NOW)], NOW)
    assert late is not None  # a worker that has not heard of it yet changes nothing about it
    assert after.version == 7


def test_a_worker_uses_less_than_what_the_places_are_wider_by() -> None:
    assert [usable_s(RateRule(1, window_s)) for window_s in (0.1, 1.0, 60.0)] == pytest.approx(
        [0.00375, 0.0375, 0.0375]
    )


def test_a_place_that_a_start_may_have_used_is_used_no_more() -> None:
    places = {"before": NOW - 1, "at it": NOW, "after": NOW + 1}
    assert unused(places, NOW) == {"after": NOW + 1}


def test_a_share_has_a_name_of_its_own() -> None:
    one = Share("rate.JOB.1", RateRule(5))
    assert one.name == Share("rate.JOB.1", RateRule(7)).name
    others = [Share("rate.JOB.2", one.rule), Share(one.key, one.rule, 2), Share(one.key, RateRule(5, version=1))]
    assert len({one.name, *(other.name for other in others)}) == 4


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"limit": 10**10}, {"limit": 1, "window_s": 0.0}, {"limit": 1, "burst": 0}]
)
def test_a_rule_that_means_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="not"):
        RateRule(**wrong)
    with pytest.raises(ValueError, match="1 to 500"):
        ConcurrencyRule(0)
