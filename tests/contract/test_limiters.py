"""The port Limiters: places in order, shared by all that ask, on the broker's clock."""

import asyncio
import time
from itertools import pairwise

import pytest

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.clock import BrokerClock
from natsume.core.gcra import Asked, lateness_s
from natsume.exceptions import BrokerError
from natsume.model.limit_rule import RateRule
from natsume.settings import Settings
from natsume.testing import until

RULE = RateRule(100)
SPACED_S = (1.0 + lateness_s(RULE)) / 100


async def times(broker: Broker, count: int, rule: RateRule = RULE) -> list[float]:
    given = await broker.limiters.reserve("rate.JOB.1", [Asked(rule, 1, broker.now())] * count)
    assert all(at is not None for at in given)
    return [at for at in given if at is not None]


async def test_a_batch_gets_places_in_its_order(broker: Broker) -> None:
    began = broker.now()
    first = await times(broker, 3)
    assert began <= first[0] <= broker.now() + 1e-5
    assert [at - first[0] for at in first] == pytest.approx([0.0, SPACED_S, 2 * SPACED_S], abs=1e-6)
    (then,) = await times(broker, 1)
    assert then - first[0] == pytest.approx(3 * SPACED_S, abs=1e-6)


async def test_workers_that_ask_at_once_share_one_limit(broker: Broker, natsume_settings: Settings) -> None:
    others = [await Broker.connect(natsume_settings) for _ in range(2)]
    try:
        for other in others:
            await other.refresh()
        rounds = [times(one, 5) for one in (broker, *others) for _ in range(10)]
        given = sorted(at for batch in await asyncio.gather(*rounds) for at in batch)
    finally:
        for other in others:
            await other.close()
    spaces = [two - one for one, two in pairwise(given)]
    assert len(given) == 150
    assert min(spaces) >= SPACED_S - 1e-6
    assert given[-1] - given[0] == pytest.approx(149 * SPACED_S, abs=0.5)


async def test_an_idle_limiter_leaves_nothing_behind(broker: Broker) -> None:
    fast = RateRule(1_000_000)
    await times(broker, 1, fast)

    async def entries() -> int:
        return int((await broker.stream_info("KV_limiters"))["state"]["messages"])

    assert await entries() == 1
    await until(entries, lambda count: count == 0)
    await times(broker, 1, fast)


async def test_an_entry_that_cannot_be_read_is_named(broker: Broker) -> None:
    await broker.publisher.publish(b"$KV.limiters.rate.JOB.1", b"", b"nonsense")
    with pytest.raises(BrokerError, match=r"rate\.JOB\.1 cannot be read; delete it with `nats kv del limiters`"):
        await times(broker, 1)
    await broker.publisher.publish(b"$KV.limiters.rate.JOB.1", b"KV-Operation: DEL\r\n", b"")
    assert await times(broker, 1)


async def test_no_step_of_this_machines_clock_changes_the_brokers(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = broker.now()
    monkeypatch.setattr(time, "time", lambda: before + 3600)
    assert broker.now() - before < 10


async def test_the_fastest_of_some_answers_tells_the_time() -> None:
    answers = iter([(0.05, 1000.0), (0.01, 2000.0), (0.03, 3000.0)])

    async def ask() -> float:
        pause_s, at = next(answers)
        await asyncio.sleep(pause_s)
        return at

    clock = BrokerClock(ask)
    assert clock.now() == pytest.approx(time.time(), abs=1)
    await clock.measure()
    clock.close()
    assert clock.now() == pytest.approx(2000.0, abs=1)
