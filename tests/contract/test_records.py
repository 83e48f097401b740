"""The port Records: each fact of a task is written at most once, and is found again."""

import asyncio

import msgspec
import pytest

from natsume.adapters.nats.batch_publish import BatchPublisher
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.exceptions import BrokerError, Disconnected, NotAcknowledged
from natsume.model.record import Done, History
from natsume.model.task import State
from natsume.ports import Records
from natsume.settings import Settings
from natsume.testing import until

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


@pytest.mark.parametrize("standing", ["abc", "a", "b", "c", ""])
async def test_of_commits_in_one_go_those_that_stand_already_refuse_no_other(records: Records, standing: str) -> None:
    for name in standing:
        assert await records.commit(done(name, "other"))
    written = await records.commit_all([done(name) for name in "abc"])
    assert written == [name not in standing for name in "abc"]
    found = await records.look_up([(name, 1) for name in "abc"])
    nonces = [one.done and one.done.nonce for one in found]
    assert nonces == ["other" if name in standing else "run-1" for name in "abc"]
    assert await records.commit_all([done("a")]) == ["a" not in standing]


async def test_commits_in_one_go_of_many_workers_at_once_leave_one_record_each(
    natsume_server: EmbeddedServer, broker: Broker, natsume_settings: Settings
) -> None:
    others = [await Broker.connect(natsume_settings) for _ in range(3)]
    try:
        written = await asyncio.gather(
            *(
                one.records.commit_all([done(f"t{number}", f"run-{worker}-{again}") for number in range(600)])
                for worker, one in enumerate([broker, *others])
                for again in range(3)
            )
        )
    finally:
        for one in others:
            await one.close()
    for outcomes in zip(*written, strict=True):
        assert sorted(outcomes) == [False] * 11 + [True]


async def test_commits_in_one_go_stand_also_where_the_stream_takes_no_batches(broker: Broker) -> None:
    config = (await broker.stream_info("RECORDS"))["config"]
    body = msgspec.json.encode({**config, "allow_batched": False})
    answer = msgspec.json.decode(await broker.request("$JS.API.STREAM.UPDATE.RECORDS", body))
    assert "error" not in answer
    assert await broker.records.commit(done("b", "other"))
    assert await broker.records.commit_all([done("a"), done("b"), done("c")]) == [True, False, True]


async def test_commits_in_one_go_that_a_killed_broker_may_have_are_unknown_and_stand_once(
    broker: Broker, natsume_server: EmbeddedServer
) -> None:
    records = [done(f"t{number}") for number in range(2000)]
    committing = asyncio.create_task(broker.records.commit_all(records))
    await asyncio.sleep(0)
    await asyncio.to_thread(natsume_server.kill)
    told = await committing
    assert {type(one) for one in told} <= {bool, Disconnected}
    natsume_server.start()
    again = await until(lambda: _all_told(broker, records))
    assert again == [True] * 2000


async def _all_told(broker: Broker, records: list[Done]) -> list[bool | BrokerError]:
    told = await broker.records.commit_all(records)
    return told if all(isinstance(one, bool) for one in told) else []


async def test_what_the_server_lost_of_a_batch_is_unknown_and_the_rest_is_stored(broker: Broker) -> None:
    def answer(_subject: bytes, reply: bytes, body: bytes, _headers: bytes | None) -> None:
        if body == b"4":
            broker.wire.send(reply, b"", b"", b'{"type":"gap","last_seq":2,"seq":4}')
        if body == b"5":
            broker.wire.send(reply, b"", b"", b'{"type":"err","seq":5,"error":{"err_code":10071,"description":"no"}}')
            broker.wire.send(reply, b"", b"", b'{"stream":"S","seq":77,"batch":"b","count":4}')
        if body == b"short":
            broker.wire.send(reply, b"", b"", b'{"stream":"S","seq":78,"batch":"b","count":1}')

    broker.wire.listen("like.a.stream", answer)
    publisher = BatchPublisher(broker.wire)
    told = await publisher.publish([(b"like.a.stream", b"", b"%d" % number) for number in range(1, 6)])
    assert [type(one) for one in told] == [type(None), NotAcknowledged, NotAcknowledged, type(None), BrokerError]
    short = await publisher.publish([(b"like.a.stream", b"", body) for body in (b"1", b"2", b"short")])
    assert [type(one) for one in short] == [NotAcknowledged] * 3
    assert await publisher.publish([(b"no.stream", b"", b"")]) != [None]
    publisher.close()


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
