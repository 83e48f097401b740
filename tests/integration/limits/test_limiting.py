"""What a task asks of its limiters, and how several limiters agree on one time."""

import asyncio
from collections.abc import Sequence

import pytest

from natsume.core import events as ev
from natsume.core import gcra
from natsume.core.delivery import Delivery
from natsume.core.gcra import Asked, Quota, usable_s
from natsume.enums import Priority, Size
from natsume.exceptions import BrokerError, UsageError
from natsume.locks import BaseLimiter, MutexLock, RateLimiter
from natsume.model.limit_rule import ConcurrencyRule, RateRule, Share
from natsume.model.subject import Lane
from natsume.model.task import Task
from natsume.runtime.limiting import Limiting, rule_of, wanted
from natsume.runtime.reserving import Reserving
from natsume.runtime.run import Run

from .actors import ACTORS, Hourly, Off, Shift, Steady

LANE = Lane(Priority.NORMAL, Size.SMALL)
START = 1_795_245_577.0
SLOW = Share("slow", RateRule(1, 10.0))
FAST = Share("fast", RateRule(10))


class Broker:
    """The port Limiters over a dictionary, and a clock that is set."""

    def __init__(self) -> None:
        self.at = START
        self.quotas: dict[str, Quota] = {}
        self.batches: list[int] = []
        self.away = False

    def now(self) -> float:
        return self.at

    async def reserve(self, key: str, asked: Sequence[Asked]) -> list[float | None]:
        await asyncio.sleep(0)
        if self.away:
            raise BrokerError("the broker is away")
        self.batches.append(len(asked))
        given, self.quotas[key] = gcra.reserve(self.quotas.get(key, Quota()), asked, self.at)
        return given


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def limiting(broker: Broker) -> Limiting:
    return Limiting(broker, broker.now, lambda: True)


def run(*shares: Share, grants: dict[str, float] | None = None) -> Run:
    one = Run(Delivery(Task("t", "limits:Even", LANE, b"{}"), b"", 1, grants=grants), "nonce")
    one.shares = list(shares)
    return one


async def test_a_place_now_is_granted_and_the_next_is_told_when(limiting: Limiting) -> None:
    assert await limiting.reserve(run(SLOW)) == ev.Granted()
    told = await limiting.reserve(run(SLOW))
    assert told == ev.Throttled(START, pytest.approx(START + 10.05), {SLOW.name: told.until})


async def test_who_returns_with_its_place_asks_nothing_and_who_is_late_asks_anew(
    limiting: Limiting, broker: Broker
) -> None:
    told = await limiting.reserve(run(SLOW)), await limiting.reserve(run(SLOW))
    grants, asked = told[1].grants, len(broker.batches)
    assert await limiting.reserve(run(SLOW, grants=grants)) == ev.Throttled(START, told[1].until, grants)
    broker.at = told[1].until + usable_s(SLOW.rule) * 0.9
    assert await limiting.reserve(run(SLOW, grants=dict(grants))) == ev.Granted()
    assert len(broker.batches) == asked
    broker.at = told[1].until + usable_s(SLOW.rule) * 1.1
    late = run(SLOW, grants=dict(grants))
    assert limiting.void(late)
    again = await limiting.reserve(late)
    assert (again.until, len(broker.batches)) == (pytest.approx(START + 20.1), asked + 1)


async def test_several_limiters_agree_on_one_time_and_what_is_free_before_it_stays_free(
    limiting: Limiting, broker: Broker
) -> None:
    assert await limiting.reserve(run(SLOW, FAST)) == ev.Granted()
    for number in range(1, 6):
        told = await limiting.reserve(run(SLOW, FAST))
        assert list(told.grants.values()) == [pytest.approx(START + number * 10.05)] * 2
    others = [await limiting.reserve(run(FAST)) for _ in range(5)]
    assert others[4].until == pytest.approx(START + 5 * 0.105)


async def test_both_are_good_when_they_come_however_full_both_are(limiting: Limiting, broker: Broker) -> None:
    shares = [Share(f"s{number}", RateRule(3 + number)) for number in range(4)]
    for number in range(40):
        told = await limiting.reserve(
            run(*[share for place, share in enumerate(shares) if (number >> place) & 1 or not place])
        )
        if isinstance(told, ev.Throttled):
            broker_at, broker.at = broker.at, told.until
            assert max(told.grants.values()) - min(told.grants.values()) <= min(usable_s(one.rule) for one in shares)
            broker.at = broker_at


async def test_who_finds_no_place_within_a_month_asks_again_in_a_day(limiting: Limiting) -> None:
    yearly = Share("yearly", RateRule(1, 365 * 86_400.0))
    assert await limiting.reserve(run(yearly)) == ev.Granted()
    assert await limiting.reserve(run(yearly)) == ev.Throttled(START, START + 86_400, {}, room=False)


async def test_what_is_asked_meanwhile_goes_together_in_the_order_of_arrival(broker: Broker) -> None:
    reserving = Reserving(broker)
    rule = RateRule(10)
    asked = [reserving.reserve("k", Asked(rule, 1, START)) for _ in range(6)]
    times = await asyncio.gather(*asked, reserving.reserve("other", Asked(rule, 1, START)))
    assert times[:6] == sorted(times[:6])
    assert sorted(broker.batches) == [1, 6]


async def test_without_an_answer_all_who_asked_learn_it_and_the_next_may_ask(broker: Broker) -> None:
    reserving = Reserving(broker)
    broker.away = True
    asked = [reserving.reserve("k", Asked(RateRule(1), 1, START)) for _ in range(3)]
    assert {type(answer) for answer in await asyncio.gather(*asked, return_exceptions=True)} == {BrokerError}
    broker.away = False
    assert await reserving.reserve("k", Asked(RateRule(1), 1, START)) == START


class Pair(RateLimiter):
    limit = 5


def rule(limiter: BaseLimiter) -> RateRule | ConcurrencyRule | None:
    return rule_of(limiter, next(iter(ACTORS.values())), None)  # type: ignore[arg-type]


def test_locks_in_one_order_limiters_apart_the_slowest_first() -> None:
    wants, shares = wanted(
        [MutexLock("TASK", "b"), Steady("TASK", "x"), Hourly("TASK", "y"), Shift("TASK", "c"), MutexLock("TASK", "a"),
         Off("TASK", "z"), MutexLock("TASK", "a", ttl_ms=5_000)], rule
    )  # fmt: skip
    assert [want.name for want in wants] == ["concurrency:task:c", "mutex:task:a", "mutex:task:b"]
    assert [(share.key, share.items) for share in shares] == [("rate.task.y", 1), ("rate.task.x", 1)]


def test_what_is_configured_takes_the_place_of_the_class() -> None:
    own = {Steady: RateRule(7, 60.0, 3, version=2), Shift: ConcurrencyRule(9), Hourly: None}
    locks = [Steady("TASK", "x"), Shift("TASK", "x"), Hourly("TASK", "x")]
    wants, shares = wanted(locks, lambda limiter: own[type(limiter)])
    assert [(want.permits, want.varies) for want in wants] == [(9, True)]
    assert shares == [Share("rate.task.x", RateRule(7, 60.0, 3, version=2))]


def test_a_limiter_that_is_named_twice_counts_twice() -> None:
    _, shares = wanted([Pair("TASK", "x", n_items=2), Pair("TASK", "x", n_items=3)], rule)
    assert [share.items for share in shares] == [5]


def test_too_many_rate_limiters_are_refused() -> None:
    with pytest.raises(UsageError, match="17 rate limiters are named; a task may have 16"):
        wanted([Pair("TASK", number) for number in range(17)], rule)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"limit": 0}, "limit is a number from 1"),
        ({"limit": "5"}, "limit is a number"),
        ({"limit": 5, "window_seconds": 0}, "a window is"),
        ({"limit": 5, "burst": 0}, "burst is a number"),
    ],
)
def test_a_class_that_means_nothing_is_refused_where_it_is_written(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=f"Wrong: {sentence}"):
        type("Wrong", (RateLimiter,), values)


def test_items_are_a_number() -> None:
    with pytest.raises(UsageError, match="n_items is 1 to"):
        Pair("TASK", "x", n_items=0)
