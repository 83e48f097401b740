"""What holds of a limit, layer over layer, and what cannot be said of one."""

import pytest

from natsume.config.tasks_file import TasksFileError, parse
from natsume.core.limit_rules import (
    allowed,
    by_target,
    concurrency_rule,
    flaw,
    rate_rule,
    version_of,
    with_set,
    without,
)
from natsume.exceptions import UsageError
from natsume.model.config import LimitConfig, LimitSet, LimitsSet
from natsume.model.limit_rule import ConcurrencyRule, RateRule
from natsume.model.limits import LIMITS_SET_MAX, PERMITS_MAX

NAME = "rate:task:CERN-DST:RemoveFile"
OWN = LimitConfig(10, 1.0, 1)
FILE = parse(
    b"""
vos: [lhcb]
limits:
  rate:task:CERN-DST:RemoveFile: {limit: 20, burst: 5}
common:
  t:Remove: {limits: {rate: {limit: 30}}}
vo-overrides:
  lhcb:
    t:Remove: {limits: {rate: {window_seconds: 2}}}
    t:Other: {limits: {rate: {enabled: false}}}
""",
    "tasks.yaml",
)


def one(rule: LimitConfig, name=NAME, actor=None, vo=None, at=5.0) -> LimitSet:
    return LimitSet(name, rule, "ada", "why", at, actor, vo)


def holds(actor="t:X", vo=None, *sets: LimitSet):
    found = LimitsSet(sets)
    return rate_rule(allowed(NAME, OWN, actor, vo, FILE, by_target(found)))


def test_the_more_special_wins_in_the_file():
    assert rate_rule(OWN) == RateRule(10)
    assert holds() == RateRule(20, 1.0, 5)
    assert holds("t:Remove") == RateRule(30, 1.0, 5)
    assert holds("t:Remove", "lhcb") == RateRule(30, 2.0, 5)
    assert holds("t:Remove", "nobody") == RateRule(30, 1.0, 5)
    assert (holds("t:Other"), holds("t:Other", "lhcb")) == (RateRule(20, 1.0, 5), None)


def test_what_was_set_wins_over_the_file_and_the_more_special_among_it():
    general, special = one(LimitConfig(limit=2)), one(LimitConfig(limit=3), vo="lhcb")
    assert holds("t:Remove", "lhcb", general) == RateRule(2, 2.0, 5)
    assert holds("t:Remove", "lhcb", general, special) == RateRule(3, 2.0, 5)
    assert holds("t:Remove", None, general, special) == RateRule(2, 1.0, 5)
    kind = one(LimitConfig(limit=4), "rate", "t:Remove")
    assert holds("t:Remove", "lhcb", general, special, kind) == RateRule(4, 2.0, 5)
    exact = one(LimitConfig(limit=5), NAME, "t:Remove")
    assert holds("t:Remove", "lhcb", exact, kind, special, general) == RateRule(5, 2.0, 5)
    assert holds("t:Y", "lhcb", exact, kind) == RateRule(20, 1.0, 5)


def test_a_limiter_is_switched_on_and_off():
    assert rate_rule(LimitConfig(None, 3.0, 2)) is None
    switched = allowed(NAME, LimitConfig(None, 3.0, 2), "t:X", None, None, by_target(LimitsSet((one(LimitConfig(7)),))))
    assert rate_rule(switched, 9) == RateRule(7, 3.0, 2, 9)
    assert holds("t:X", None, one(LimitConfig(enabled=False))) is None
    assert concurrency_rule(LimitConfig(limit=3)) == ConcurrencyRule(3)
    assert concurrency_rule(LimitConfig(permits=4)) == ConcurrencyRule(4)
    assert concurrency_rule(LimitConfig()) is None


def test_every_change_raises_the_version_of_what_it_concerns():
    found = with_set(None, one(LimitConfig(limit=2), at=5.0))
    assert (version_of(NAME, 0.0, found), version_of("rate:job:7", 0.0, found)) == (5000, 0)
    found = with_set(found, one(LimitConfig(limit=2), "rate", "t:X", at=6.0))
    assert version_of(NAME, 0.0, found) == 6000
    found = without(found, (NAME, None, None), 7.0)
    assert (version_of(NAME, 0.0, found), version_of(NAME, 8.0, found)) == (7000, 8000)


def test_setting_again_keeps_what_is_not_said():
    found = with_set(with_set(None, one(LimitConfig(limit=2))), one(LimitConfig(burst=3)))
    assert [entry.rule for entry in found.sets] == [LimitConfig(limit=2, burst=3)]
    with pytest.raises(UsageError, match="nothing is set for rate:job:8"):
        without(found, ("rate:job:8", None, None), 1.0)
    full = LimitsSet(tuple(one(LimitConfig(limit=2), f"rate:job:{n}") for n in range(LIMITS_SET_MAX)))
    with pytest.raises(UsageError, match="limits are set; take some back"):
        with_set(full, one(LimitConfig(limit=2)))


@pytest.mark.parametrize(
    ("name", "rule", "said"),
    [
        (NAME, LimitConfig(limit=1), None),
        ("semaphore:job:7", LimitConfig(permits=1), None),
        ("mutex:job:7", LimitConfig(limit=1), "is no name of a lock with a limit; it begins with rate, concurrency"),
        (NAME, LimitConfig(permits=1), ".permits means nothing for rate; there are limit, window_seconds, burst"),
        ("concurrency:job:7", LimitConfig(limit=PERMITS_MAX + 1), "at most 500 may run at a time"),
        (NAME, LimitConfig(), "says nothing; give one of limit"),
    ],
)
def test_what_cannot_be_said(name, rule, said):
    found = flaw(name, rule)
    assert found is None if said is None else said in (found or "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits: {rate:job:7: {limt: 3}}", "limits.rate:job:7.limt is no key; did you mean limit"),
        ("limits: {rate:job:7: {limit: 0}}", "limits.rate:job:7.limit is 0; expected"),
        ("limits: {rate:job: {limit: 1}}", "limits.rate:job is no name of a lock; write kind, object type and key"),
        ("limits: {mutex:job:7: {limit: 1}}", "limits.mutex:job:7 is no name of a lock with a limit"),
        (
            "common: {t:A: {limits: {semaphore: {limit: 1}}}}",
            "common.t:A.limits.semaphore.limit means nothing for semaphore; there are permits",
        ),
        (
            "vos: [v]\nvo-overrides: {v: {t:A: {limits: {rate: {window_seconds: 0}}}}}",
            "vo-overrides.v.t:A.limits.rate.window_seconds is 0; expected",
        ),
    ],
)
def test_the_path_of_what_is_wrong_in_the_file(text, said):
    with pytest.raises(TasksFileError) as refused:
        parse(text.encode(), "tasks.yaml")
    assert said in str(refused.value)
