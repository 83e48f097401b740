"""What a conductor has in hand stays its own while it lives, and goes to another within seconds when it does not."""

import asyncio

import msgspec
import pytest

from natsume.adapters.nats import in_hand, topology
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.feed import RecordFeed
from natsume.core.topology_diff import Config
from natsume.model.record import Done
from natsume.model.task import State
from natsume.testing import until

COUNT = 50


async def consumer(broker: Broker) -> dict:
    return msgspec.json.decode(await broker.request("$JS.API.CONSUMER.INFO.RECORDS.reactor", b""))


async def set_ack_wait(broker: Broker, ack_wait_s: float) -> None:
    config = (await consumer(broker))["config"] | {"ack_wait": int(ack_wait_s * 1e9)}
    body = msgspec.json.encode({"stream_name": "RECORDS", "config": config, "action": "update"})
    assert b"error" not in await broker.request("$JS.API.CONSUMER.CREATE.RECORDS.reactor", body)


async def commit(broker: Broker, count: int = COUNT) -> None:
    done = [Done(f"t{n}", "t:A", State.COMPLETED, "n", "w", 1, 0.0, 0.0, tracked=True) for n in range(count)]
    await asyncio.gather(*(broker.records.commit(record) for record in done))


@pytest.fixture
async def another(natsume_settings):
    broker = await Broker.connect(natsume_settings)
    yield broker
    await broker.close()


def quick(monkeypatch, ack_wait_s):
    """The same ratios, five times as fast."""
    monkeypatch.setattr(in_hand, "_ROUND_S", ack_wait_s / 5)
    monkeypatch.setattr(in_hand, "_ALONE_S", ack_wait_s * 4 / 5)


def answered(monkeypatch) -> list[int]:
    """The sizes of the rounds that the server has answered."""
    sizes = []
    on_answer = in_hand.InHand._on_answer

    def note(self, subject, *rest):
        sizes.append(len(self._rounds[int(subject.rpartition(b".")[2])][1]))
        on_answer(self, subject, *rest)

    monkeypatch.setattr(in_hand.InHand, "_on_answer", note)
    return sizes


def test_the_file_says_what_the_code_rests_on():
    (reactor,) = [entity for entity in topology.load() if entity.name == "reactor"]
    config: Config = reactor.config
    assert config["ack_wait"] == in_hand.ACK_WAIT_S * 1e9
    assert 3 * in_hand._ROUND_S < in_hand._ALONE_S < in_hand.ACK_WAIT_S


async def test_what_waits_for_its_turn_is_brought_to_nobody_else(natsume_broker, monkeypatch):
    quick(monkeypatch, 1.0)
    rounds = answered(monkeypatch)
    await set_ack_wait(natsume_broker, 1.0)
    feed = RecordFeed(natsume_broker.wire)
    await commit(natsume_broker)
    (first, *_) = await feed.batch(1)
    # Three times ack_wait, as the server has heard it.
    await until(lambda: rounds.count(COUNT) >= 15)
    rest = [one for _ in range(COUNT - 1) for one in await feed.batch(1)]
    assert [one for one in (first, *rest) if not feed.is_alone(one)] == []
    assert (await consumer(natsume_broker))["num_redelivered"] == 0
    for one in (first, *rest):
        feed.acknowledge(one)
    await until(lambda: consumer(natsume_broker), lambda info: info["num_ack_pending"] == 0)
    feed.close()


async def test_what_nobody_extends_is_brought_to_another_and_known_to_be(natsume_broker, another, monkeypatch):
    quick(monkeypatch, 1.0)
    await set_ack_wait(natsume_broker, 1.0)
    stuck = RecordFeed(natsume_broker.wire)
    await commit(natsume_broker, 1)
    (mine,) = await stuck.batch(1)
    assert stuck.is_alone(mine)
    stuck._in_hand._timer.cancel()
    other = RecordFeed(another.wire)
    (theirs,) = await other.batch(1)
    assert theirs.sequence == mine.sequence
    assert theirs.delivered > 1
    assert not other.is_alone(theirs)
    assert not stuck.is_alone(mine)
    # An extension that comes too late does not make it this process's own again.
    stuck._in_hand._extend()
    await until(lambda: stuck._in_hand._rounds == {})
    assert not stuck.is_alone(mine)
    stuck.close()
    other.close()


async def test_a_process_that_stood_still_doubts_what_lay_before_it(natsume_broker, monkeypatch):
    feed = RecordFeed(natsume_broker.wire)
    feed._in_hand._woke_at -= in_hand.ACK_WAIT_S
    await commit(natsume_broker, 1)
    (one,) = await feed.batch(1)
    assert one.delivered == 1
    assert not feed.is_alone(one)
    feed.close()


async def test_who_stops_gives_everything_back_at_once(natsume_broker, another):
    await set_ack_wait(natsume_broker, 3600.0)
    stopping = RecordFeed(natsume_broker.wire)
    await commit(natsume_broker)
    await stopping.batch(COUNT)
    other = RecordFeed(another.wire)
    stopping.close()
    taken = []
    while len(taken) < COUNT:
        taken += await other.batch(COUNT)
    assert {one.sequence for one in taken} == set(range(1, COUNT + 1))
    other.close()
