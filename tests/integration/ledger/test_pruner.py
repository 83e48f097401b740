"""What nobody waits for is purged from the broker, and only that."""

import msgspec
import pytest

from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.sql.ledger import SqlLedger
from natsume.model import limits
from natsume.model.task import State
from natsume.runtime.pruner import Pruner
from natsume.testing import until

from .actors import Double, Fail, FailOnce


@pytest.fixture
def pruner(natsume_broker, engine):
    """One that finds everything old."""
    ledger = SqlLedger(engine)
    return Pruner(ledger, natsume_broker.old_records, lambda: natsume_broker.now() + 1, {}, horizon_s=0.0)


@pytest.fixture
async def subjects(natsume_broker):
    reader = DirectReader(natsume_broker.wire, "RECORDS")

    async def read() -> set[str]:
        return {stored.subject for stored in await reader.last(["record.>"])}

    yield read
    reader.close()


async def settled(broker) -> None:
    async def rest() -> int:
        info = await broker.stream_info("RECORDS")
        return info["state"]["last_seq"] - await broker.old_records.settled()

    await until(rest, lambda left: left == 0)


async def test_the_ended_go_and_the_open_and_the_dead_stay(
    natsume_broker, natsume_client, natsume_worker, natsume_conductor, rows, pruner, subjects
):
    ended = await natsume_client.submit(Double(1), owner="ada")
    dead = await natsume_client.submit(Fail())
    discarded = await natsume_client.submit(FailOnce())
    waiting = await natsume_client.submit(Double(2), delay=3600, track=True)
    await until(rows, lambda seen: len(seen) == 4 and sum(row["finished_at"] is not None for row in seen.values()) == 3)
    await settled(natsume_broker)
    before = await subjects()
    assert {f"record.submitted.task.{ended}", f"record.failed.1.{discarded}"} < before
    await pruner.prune_broker()
    assert await subjects() == {subject for subject in before if subject.rpartition(".")[2] in {dead, waiting}}
    await pruner.prune_broker()
    assert f"record.done.dead.{dead}" in await subjects()


async def test_nothing_goes_that_the_ledger_or_the_reactor_has_not_seen(
    natsume_broker, natsume_client, natsume_worker, pruner, subjects
):
    token = await natsume_client.submit(Double(1), owner="ada")
    await natsume_client.result(token)
    before = await subjects()
    assert await natsume_broker.old_records.settled() == 0
    assert await pruner.prune_broker() == 0
    assert await subjects() == before


async def test_nothing_goes_that_is_young(
    natsume_broker, natsume_client, natsume_worker, natsume_conductor, rows, engine, subjects
):
    token = await natsume_client.submit(Double(1), owner="ada")
    await until(rows, lambda seen: token in seen and seen[token]["finished_at"])
    await settled(natsume_broker)
    young = Pruner(SqlLedger(engine), natsume_broker.old_records, natsume_broker.now, {}, horizon_s=3600.0)
    before = await subjects()
    assert await young.prune_broker() == 0
    assert await subjects() == before


async def test_a_start_goes_once_the_plain_success_has_expired(
    natsume_broker, natsume_client, natsume_worker, natsume_conductor, rows, pruner, subjects
):
    token = await natsume_client.submit(Double(1))
    await until(rows, lambda seen: token in seen and seen[token]["finished_at"])
    start = {"id": token, "actor": "t:Double", "attempt": 1, "worker": "w", "at": 1.0}
    await natsume_broker.publisher.publish(f"record.started.1.{token}".encode(), b"", msgspec.json.encode(start))
    await settled(natsume_broker)
    await natsume_broker.request("$JS.API.STREAM.PURGE.RECORDS", b'{"filter":"record.done.plain.>"}')
    assert await subjects() == {f"record.started.1.{token}"}
    await pruner.prune_broker()
    assert await subjects() == set()


async def test_more_than_a_page_of_what_must_stay_does_not_hold_up_what_may_go(
    natsume_broker, natsume_client, natsume_worker, natsume_conductor, rows, pruner, subjects, monkeypatch
):
    monkeypatch.setattr(limits, "PRUNE_STEP", 3)
    open_ = [await natsume_client.submit(Double(2), delay=3600, track=True) for _ in range(10)]
    ended = await natsume_client.submit(Double(1), owner="ada")
    await until(rows, lambda seen: len(seen) == 11 and seen[ended]["finished_at"])
    await settled(natsume_broker)
    await pruner.prune_broker()
    assert await subjects() == {f"record.submitted.task.{task}" for task in open_}


async def test_the_ledger_keeps_what_is_within_its_retention(
    natsume_client, natsume_worker, natsume_conductor, rows, engine
):
    token = await natsume_client.submit(Double(1))
    failed = await natsume_client.submit(Fail())
    found = await until(rows, lambda seen: len(seen) == 2 and all(row["finished_at"] for row in seen.values()))
    end = max(row["finished_at"] for row in found.values()).timestamp()
    keep = {State.COMPLETED: 7 * 86_400.0, State.FAILED: 90 * 86_400.0}

    async def prune(days: float) -> int:
        return await Pruner(SqlLedger(engine), None, lambda: end + days * 86_400, keep).prune_ledger()

    assert (await prune(6.9), set(await rows())) == (0, {token, failed})
    assert (await prune(7.1), set(await rows())) == (1, {failed})
    assert (await prune(90.1), set(await rows())) == (1, set())
