"""The port Records: each fact of a task is written at most once, and is found again."""

import asyncio

import pytest

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.exceptions import BrokerError, Disconnected
from natsume.model.record import History
from natsume.model.task import State
from natsume.ports import Records

from .conftest import done, failed, started


@pytest.fixture
def records(broker: Broker) -> Records:
    return broker.records


async def test_the_first_commit_stands_and_a_second_run_learns_that_it_lost(records: Records) -> None:
    assert await records.commit(done("a", "run-1"))
    assert not await records.commit(done("a", "run-2"))
    (history,) = await records.look_up([("a", 1)])
    assert history.done == done("a", "run-1")


async def test_a_repeated_commit_of_the_same_run_counts_as_written(records: Records) -> None:
    assert await records.commit(done("a", "run-1"))
    assert await records.commit(done("a", "run-1"))


async def test_the_fence_holds_across_the_classes_of_done_records(records: Records) -> None:
    assert await records.commit(done("a", "run-1"))
    assert not await records.commit(done("a", "run-2", State.FAILED))
    assert await records.commit(done("b", "run-1", State.FAILED))
    assert not await records.commit(done("b", "run-2"))


async def test_of_many_commits_at_once_exactly_one_stands(records: Records) -> None:
    written = await asyncio.gather(*(records.commit(done("a", f"run-{number}")) for number in range(50)))
    assert written.count(True) == 1
    (history,) = await records.look_up([("a", 1)])
    assert history.done is not None
    assert history.done.nonce == f"run-{written.index(True)}"


async def test_commits_in_one_go_are_told_each_in_order(broker: Broker) -> None:
    assert await broker.records.commit(done("b", "other"))
    written = await broker.records.commit_all([done("b", "run-1"), done("a", "run-2"), done("c", "run-3")])
    assert written == [False, True, True]
    assert await broker.records.commit_all([]) == []


async def test_commits_in_one_go_are_each_unknown_without_a_connection(broker: Broker) -> None:
    await broker.wire.close()
    told = await broker.records.commit_all([done("a"), done("b")])
    assert [type(one) for one in told] == [Disconnected, Disconnected]


async def test_the_first_failure_of_an_attempt_stands_and_is_told_to_the_second(records: Records) -> None:
    first, second = failed("a", 1, "first"), failed("a", 1, "second", next_at=9.0)
    assert await records.fail(first) is first
    assert await records.fail(second) == first
    assert await records.fail(failed("a", 2)) == failed("a", 2)


async def test_a_start_is_written_only_over_the_one_that_is_expected(records: Records) -> None:
    first = await records.start(started("a", nonce="run-1"), 0)
    assert first
    assert await records.start(started("a", nonce="run-2"), 0) is None
    second = await records.start(started("a", nonce="run-2", crashes=1), first)
    assert second
    assert second > first
    (history,) = await records.look_up([("a", 1)])
    assert (history.started, history.started_seq) == (started("a", nonce="run-2", crashes=1), second)


async def test_a_look_up_answers_in_order_and_tells_attempts_apart(records: Records) -> None:
    await records.commit(done("a"))
    await records.fail(failed("b", 1))
    await records.start(started("b", 2), 0)
    found = await records.look_up([("c", 1), ("b", 2), ("a", 1)])
    assert found[0] == History()
    assert (found[1].failed, found[1].started) == (None, started("b", 2))
    assert found[2].done == done("a")
    (one,) = await records.look_up([("b", 1)])
    assert (one.failed, one.started) == (failed("b", 1), None)


async def test_many_are_looked_up_in_one_request(records: Records) -> None:
    await asyncio.gather(*(records.commit(done(f"t{number}")) for number in range(64)))
    found = await records.look_up([(f"t{number}", 1) for number in range(64)])
    assert [history.done and history.done.id for history in found] == [f"t{number}" for number in range(64)]


async def test_without_a_broker_every_method_raises_and_nothing_waits_for_it(
    records: Records, natsume_server: EmbeddedServer
) -> None:
    await asyncio.to_thread(natsume_server.kill)
    for call in (records.commit(done("a")), records.fail(failed("a")), records.look_up([("a", 1)])):
        with pytest.raises(BrokerError):
            await call
