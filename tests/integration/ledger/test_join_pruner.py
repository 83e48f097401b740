"""A join goes when nobody reads it any more, and nothing that comes later brings it back."""

import asyncio

import pytest
from msgspec.structs import replace
from sqlalchemy import delete

from natsume.adapters.sql.ledger import SqlLedger
from natsume.adapters.sql.schema import joins, tasks
from natsume.cli.main import main
from natsume.connecting import cancelling_of, claiming_of
from natsume.core.join import JoinState
from natsume.model import limits
from natsume.model.record import When, child_id, replay_id
from natsume.model.task import State
from natsume.model.told import Flag
from natsume.ports import DoneDelivery
from natsume.runtime.join_pruner import JoinPruner
from natsume.runtime.reactor import Reactor
from natsume.testing import task_done, until

from . import joining
from .joining import Parent

KEEP = {State.COMPLETED: 7 * 86_400.0, State.FAILED: 90 * 86_400.0}


@pytest.fixture
def natsume_registry():
    joining.SUMS.clear()
    joining.BROKEN.clear()
    return joining.ALL


@pytest.fixture
def pruner_of(natsume_broker, engine):
    """Of pruners that are so much ahead of the time."""

    def make(ahead_s: float = 1.0, horizon_s: float = 0.0) -> JoinPruner:
        now, broker = lambda: natsume_broker.now() + ahead_s, natsume_broker
        return JoinPruner(SqlLedger(engine), broker.old_records, broker.old_joins, now, KEEP, horizon_s)

    return make


@pytest.fixture
def opened(natsume_client, natsume_broker):
    """Runs a group and waits for a state of its join; the parent's id and the join's."""

    async def run(task: Parent, state: JoinState = JoinState.FIRED) -> tuple[str, str]:
        parent = await natsume_client.submit(task, track=True)
        join = await natsume_client.result(parent)
        await until(lambda: state_of(natsume_broker, join), lambda seen: seen == state)
        return parent, join

    return run


async def state_of(broker, join: str) -> JoinState | None:
    found = await broker.joins.read([join])
    return found[join][0].state if join in found else None


async def known(broker, rows, *ends: str) -> None:
    """Wait until the ledger knows of these ends, and all is acknowledged."""
    await until(rows, lambda seen: all(one in seen and seen[one]["finished_at"] for one in ends))

    async def rest() -> int:
        info = await broker.stream_info("RECORDS")
        return info["state"]["last_seq"] - await broker.old_records.settled()

    await until(rest, lambda left: left == 0)


async def test_a_join_goes_after_its_callback_with_the_records_of_its_parent(
    natsume_worker, natsume_conductor, natsume_broker, rows, pruner_of, opened
):
    joining.BROKEN.add("member 3")
    parent, fired = await opened(Parent(2))
    _, blocked = await opened(Parent(3), JoinState.BLOCKED)
    await known(natsume_broker, rows, child_id(fired, "callback"), child_id(blocked, "failure"))
    assert await pruner_of(horizon_s=3600.0).once() == 0
    assert await natsume_broker.inquiries.ends([parent])
    pruner = pruner_of()
    assert (await pruner.once(), await pruner.once()) == (1, 0)
    assert await state_of(natsume_broker, fired) is None
    assert await state_of(natsume_broker, blocked) == JoinState.BLOCKED
    assert await natsume_broker.inquiries.ends([parent]) == {}


async def test_it_stays_while_anything_of_its_time_is_not_acknowledged(
    natsume_worker, natsume_conductor, natsume_broker, rows, pruner_of, opened, monkeypatch
):
    _, join = await opened(Parent(1))
    await known(natsume_broker, rows, child_id(join, "callback"))

    async def nothing() -> int:
        return 0

    monkeypatch.setattr(natsume_broker.old_records, "settled", nothing)
    assert await pruner_of().once() == 0
    monkeypatch.undo()
    assert await pruner_of().once() == 1


async def test_it_stays_for_a_callback_that_is_dead_until_a_replay_has_read_all(
    natsume_client, natsume_worker, natsume_conductor, natsume_broker, rows, pruner_of, opened
):
    joining.BROKEN.add("sum")
    _, join = await opened(Parent(3))
    letter = child_id(join, "callback")
    for _ in range(2):
        await known(natsume_broker, rows, letter)
        assert await pruner_of().once() == 0
        replay = await natsume_client.letters.replay(letter, why="again")
        assert replay == replay_id(letter)
        letter = replay
    await known(natsume_broker, rows, letter)
    assert await pruner_of().once() == 0
    joining.BROKEN.clear()
    last = await natsume_client.letters.replay(letter, why="mended")
    assert await natsume_client.result(last) == 6
    await known(natsume_broker, rows, last)
    assert await pruner_of().once() == 1
    assert await state_of(natsume_broker, join) is None


async def test_a_cancelled_join_stays_until_its_last_member_has_ended(
    natsume_client, natsume_worker, natsume_conductor, natsume_broker, rows, pruner_of, opened
):
    joining.BROKEN.add("member 1")
    parent, join = await opened(Parent(1), JoinState.BLOCKED)
    await natsume_client.cancel(parent, cascade=True)
    await until(lambda: state_of(natsume_broker, join), lambda seen: seen == JoinState.CANCELLED)
    await known(natsume_broker, rows, child_id(join, "callback"), child_id(join, "failure"))
    ((whole, revision),) = (await natsume_broker.joins.read([join])).values()
    waits = await natsume_broker.joins.update(replace(whole, failed=b"", failure_told=False), revision)
    assert await pruner_of().once() == 0
    await natsume_broker.joins.update(whole, waits)
    assert await pruner_of().once() == 1


async def test_what_has_changed_since_it_was_read_stays_and_what_is_gone_is_no_error(
    natsume_worker, natsume_conductor, natsume_broker, opened
):
    (_, one), (_, other) = await opened(Parent(1)), await opened(Parent(1))
    page = await natsume_broker.old_joins.page(1, 10)
    assert {found.join.id for found in page} == {one, other}
    ((join, revision),) = (await natsume_broker.joins.read([one])).values()
    assert await natsume_broker.joins.update(replace(join, trace="t"), revision)
    for _ in range(2):
        await natsume_broker.old_joins.remove([found.revision for found in page])
    assert await state_of(natsume_broker, one) == JoinState.FIRED
    assert await state_of(natsume_broker, other) is None
    assert await natsume_broker.joins.update(join, revision) is None, "a reactor that read it begins anew"


async def test_several_prune_at_once_page_by_page_around_what_stays(
    natsume_worker, natsume_conductor, natsume_broker, rows, pruner_of, opened, monkeypatch
):
    monkeypatch.setattr(limits, "PRUNE_STEP", 2)
    joining.BROKEN.add("member 2")
    stay = [(await opened(Parent(2), JoinState.BLOCKED))[1] for _ in range(3)]
    go = [(await opened(Parent(1)))[1] for _ in range(5)]
    await known(natsume_broker, rows, *(child_id(join, "callback") for join in go))
    assert sum(await asyncio.gather(*(pruner_of().once() for _ in range(3)))) >= len(go)
    assert set(await natsume_broker.joins.read([*stay, *go])) == set(stay)


async def test_what_the_ledger_has_forgotten_goes_when_it_is_older_than_all_that_it_keeps(
    natsume_worker, natsume_conductor, natsume_broker, rows, pruner_of, opened, engine
):
    joining.BROKEN.add("member 2")
    _, join = await opened(Parent(1))
    _, blocked = await opened(Parent(2), JoinState.BLOCKED)
    await known(natsume_broker, rows, child_id(join, "callback"))
    async with engine.begin() as connection:
        for table in (joins, tasks):
            await connection.execute(delete(table))
    assert await pruner_of(89 * 86_400).once() == 0
    assert await pruner_of(91 * 86_400).once() == 1
    assert await state_of(natsume_broker, blocked) == JoinState.BLOCKED


async def test_a_member_that_is_replayed_after_its_join_went_ends_and_opens_nothing(
    natsume_client, natsume_worker, natsume_conductor, natsume_broker, natsume_server, rows, pruner_of, opened, capsys
):
    joining.BROKEN.add("member 2")
    parent, join = await opened(Parent(2, When.ALL_DONE))
    member = child_id(parent, 1)
    await known(natsume_broker, rows, child_id(join, "callback"), child_id(join, "failure"))
    assert await pruner_of().once() == 1
    joining.BROKEN.clear()
    replay = await natsume_client.letters.replay(member, why="mended")
    assert await natsume_client.result(replay) == 2
    await opened(Parent(2))
    await until(lambda: joining.SUMS == [1, 3])
    await known(natsume_broker, rows, replay)
    assert await state_of(natsume_broker, join) is None
    assert await asyncio.to_thread(main, ["joins", "show", join, "--nats-url", natsume_server.url]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "it went after its callback" in line


async def test_a_cascade_that_holds_an_old_parent_opens_no_join_and_ends_no_callback_again(
    natsume_worker, natsume_conductor, natsume_broker, rows, pruner_of, opened
):
    parent, join = await opened(Parent(1))
    callback = child_id(join, "callback")
    await known(natsume_broker, rows, callback)
    ends = await natsume_broker.inquiries.ends([parent])
    assert await pruner_of().once() == 1
    await natsume_broker.old_records.purge({callback}, 2**53)
    cancelling = cancelling_of(natsume_broker, "w")
    await cancelling._cascading.pass_on(ends[parent], Flag(parent, "ada", 1.0, "late", cascade=True))
    assert await state_of(natsume_broker, join) is None
    assert await natsume_broker.inquiries.ends([callback]) == {}


class Stopped:
    """The feed of a conductor that stood still with one record in hand."""

    def __init__(self, record):
        self.acknowledged = []
        self._batches = [[DoneDelivery(record, b"", 1, 1)]]

    async def batch(self, _count_max):
        return self._batches.pop() if self._batches else await asyncio.Future()

    def is_alone(self, _delivery):
        return False

    def acknowledge(self, delivery):
        self.acknowledged.append(delivery)


@pytest.mark.parametrize("gone", [False, True])
async def test_a_conductor_that_goes_on_after_long_follows_no_record_that_is_gone(
    natsume_client, natsume_worker, natsume_broker, gone
):
    parent = await task_done(natsume_client, await natsume_client.submit(Parent(1), track=True))
    join = parent.groups[0].join
    if gone:
        await natsume_broker.old_records.purge({parent.id}, 2**53)
    feed = Stopped(parent)
    broker = natsume_broker
    reactor = Reactor(
        feed,
        broker.joins,
        broker.chunks,
        broker.outgoing,
        broker.inquiries,
        claiming_of(broker, "w"),
        lambda: 0,
        broker.now,
    )
    running = asyncio.create_task(reactor.run())
    await until(lambda: len(feed.acknowledged) == 1)
    running.cancel()
    assert await state_of(broker, join) == (None if gone else JoinState.OPEN)
    child = child_id(parent.id, 0)
    if gone:
        assert await broker.inquiries.status(child) is None
    else:  # of an untracked one nothing is known before it has run
        await until(lambda: broker.inquiries.status(child))
