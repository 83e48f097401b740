"""What a person with a token can ask, and what nobody else can: the behaviour to keep, line by line."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar

import pytest

from natsume import BaseTask, Who
from natsume.actors.registry import Registry
from natsume.cli.following import Follower
from natsume.compose.conductor import conducting
from natsume.connecting import connect
from natsume.exceptions import Forbidden, LedgerError, UnknownTask
from natsume.model.ledger import Filter
from natsume.model.task import State
from natsume.testing import task_done, until


@dataclass
class Noop(BaseTask):
    number: int

    async def execute(self) -> int:
        return self.number


class Dead(BaseTask):
    dlq_eligible = True

    async def execute(self) -> None:
        raise ValueError("no")


class Shared(Dead):
    cancel_by = "owner"
    replay_by = "tenant"


class Held(BaseTask):
    let_go: ClassVar[asyncio.Event]

    async def execute(self) -> None:
        await self.let_go.wait()


ALL = {f"s:{cls.__name__}": cls for cls in (Noop, Dead, Shared, Held)}
LHCB = Who("eve", ("lhcb",))
EVERYBODY = {"owner": Who("ada"), "tenant": LHCB, "operator": None}
OTHERS = {"nobody": Who(), "stranger": Who("mallory", ("cms",))}


@pytest.fixture
def natsume_registry():
    return ALL


@pytest.fixture
async def projected(natsume_client, natsume_worker, natsume_conductor, engine, rows):
    """Submits, waits for the end, and for the ledger to know it."""

    async def run(task, **given) -> str:
        token = await natsume_client.submit(task, **given)
        await task_done(natsume_client, token)
        await until(rows, lambda found: found.get(token, {}).get("state") in {"COMPLETED", "FAILED"})
        return token

    return run


async def purge(broker, token: str) -> None:
    """Let the broker forget a task."""
    await broker.request("$JS.API.STREAM.PURGE.RECORDS", b'{"filter":"record.*.*.%b"}' % token.encode())


async def answer(asked) -> tuple[str, str]:
    try:
        return "told", str(await asked)
    except (UnknownTask, Forbidden, LedgerError, TimeoutError) as error:
        return type(error).__name__, str(error)


@pytest.mark.parametrize("name", EVERYBODY)
async def test_one_is_readable_by_its_owner_its_tenant_and_operators(projected, natsume_client, name):
    token = await projected(Noop(1), owner="ada", tenant="lhcb")
    status = await natsume_client.status(token, as_user=EVERYBODY[name])
    assert (status.state, status.owner, status.tenant) == (State.COMPLETED, "ada", "lhcb")


async def test_a_token_is_there_before_anything_runs_and_is_not_to_be_guessed(natsume_client):
    tokens = [await natsume_client.submit(Noop(1), owner="ada") for _ in range(20)]
    assert [(await natsume_client.status(token, as_user="ada")).state for token in tokens] == [State.ENQUEUED] * 20
    assert all(len(bytes.fromhex(token)) * 8 >= 128 for token in tokens)
    bits = [int(token, 16) for token in tokens]
    assert all((one ^ other).bit_count() > 20 for one in bits for other in bits if one is not other)


async def test_unknown_and_forbidden_look_the_same(projected, natsume_client, natsume_broker):
    token = await projected(Noop(1), owner="ada", tenant="lhcb")
    running = await natsume_client.submit(Noop(2), owner="ada", delay=3600)
    unknown = "0" * len(token)
    for who in (*OTHERS.values(), "bob"):
        asks = (
            lambda one, who=who: natsume_client.status(one, as_user=who),
            lambda one, who=who: natsume_client.result(one, 0.01, as_user=who),
            lambda one, who=who: natsume_client.letters.replay(one, as_user=who),
            lambda one, who=who: natsume_client.letters.discard(one, as_user=who),
            lambda one, who=who: natsume_client.cancel(one, as_user=who),
            lambda one, who=who: natsume_client.comment(one, "mine", as_user=who),
        )
        for ask in asks:
            answers = {
                (kind, text.replace(one, unknown))
                for one in (token, running, unknown)
                for kind, text in [await answer(ask(one))]
            }
            assert answers == {
                (
                    "UnknownTask",
                    f"nothing is known of a task {unknown!r}: it never was, is too old, or not yours to see",
                )
            }
    await purge(natsume_broker, token)
    assert (await answer(natsume_client.status(token, as_user="bob")))[0] == "UnknownTask"


async def test_what_runs_untracked_is_known_as_its_tenants_own(
    natsume_client, natsume_worker, natsume_conductor, engine
):
    Held.let_go = asyncio.Event()
    token = await natsume_client.submit(Held(), owner="ada", tenant="lhcb", track=False)

    async def seen():
        try:
            return await natsume_client.status(token, as_user=LHCB)
        except UnknownTask:
            return None

    told = await until(seen, lambda found: found is not None and found.state is State.RUNNING)
    assert (told.lane, told.owner, told.tenant) == ("normal.small", "ada", "lhcb")
    assert told.submitted_at < told.started_at

    async def listed():
        return (await natsume_client.ledger.find(as_user=LHCB)).tasks

    (row,) = await until(listed, bool)
    assert (row.id, row.state, row.lane, row.submitted_at) == (token, State.RUNNING, told.lane, told.submitted_at)
    Held.let_go.set()
    await task_done(natsume_client, token)


async def test_what_the_broker_forgot_the_ledger_tells(projected, natsume_client, natsume_broker, natsume_settings):
    token = await projected(Noop(7), owner="ada", labels={"a": "b"})
    before = await natsume_client.status(token)
    await purge(natsume_broker, token)
    after = await natsume_client.status(token)
    assert (after.state, after.attempts, after.done.result, after.done.labels) == (
        before.state,
        before.attempts,
        before.done.result,
        {"a": "b"},
    )
    for patient in (False, True):  # `tasks show --follow`, `tasks await`
        async with asyncio.timeout(30):
            assert await Follower(None, patient=patient).run(natsume_settings, token) is State.COMPLETED


async def test_a_terminated_task_read_by_its_owner_is_consumed_and_listing_never_does(projected, natsume_client):
    token = await projected(Noop(1), owner="ada", tenant="lhcb")

    async def consumed() -> bool:
        (row,) = (await natsume_client.ledger.find(Filter(ids=(token,)), as_user="ada")).tasks
        return row.consumed

    for who in (LHCB, None):
        assert not (await natsume_client.status(token, as_user=who)).consumed
    assert not await consumed()
    assert (await natsume_client.status(token, as_user="ada")).consumed
    assert await consumed()
    assert [row.id for row in (await natsume_client.ledger.find(Filter(consumed=True))).tasks] == [token]


async def test_a_result_that_its_owner_fetched_is_consumed(projected, natsume_client):
    token = await projected(Noop(5), owner="ada")
    assert await natsume_client.result(token, as_user="ada") == 5
    assert (await natsume_client.status(token)).consumed


async def test_a_task_that_has_not_ended_is_not_consumed(natsume_client, natsume_conductor, engine):
    token = await natsume_client.submit(Noop(1), owner="ada", delay=3600)
    assert not (await natsume_client.status(token, as_user="ada")).consumed


async def test_a_replay_needs_an_operator_unless_the_actor_widens_it(projected, natsume_client):
    narrow = await projected(Dead(), owner="ada", tenant="lhcb")
    with pytest.raises(Forbidden, match="ada may not replay"):
        await natsume_client.letters.replay(narrow, as_user="ada")
    assert await natsume_client.letters.replay(narrow)
    wide = await projected(Shared(), owner="ada", tenant="lhcb")
    assert await natsume_client.letters.replay(wide, as_user=LHCB)


async def test_a_cancel_needs_an_operator_unless_the_actor_widens_it(natsume_client, natsume_conductor, engine):
    narrow, wide = [await natsume_client.submit(one, owner="ada", delay=3600) for one in (Dead(), Shared())]
    with pytest.raises(Forbidden, match="ada may not cancel"):
        await natsume_client.cancel(narrow, as_user="ada")
    assert [await natsume_client.cancel(wide, why="late", as_user="ada") for _ in range(2)] == [True, False]
    status = await natsume_client.status(wide, as_user="ada")
    assert (status.state, status.flag.who, status.flag.why) == (State.CANCELLED, "ada", "late")
    assert await natsume_client.cancel(narrow)


async def test_a_task_that_has_ended_cannot_be_cancelled(projected, natsume_client, natsume_broker):
    token = await projected(Noop(1), owner="ada")
    assert not await natsume_client.cancel(token)
    await purge(natsume_broker, token)
    assert not await natsume_client.cancel(token)


async def test_who_may_see_a_task_may_comment_on_it(natsume_client, natsume_broker, natsume_conductor, engine):
    token = await natsume_client.submit(Noop(1), owner="ada", tenant="lhcb", delay=3600)
    for who in (LHCB, "ada"):
        await natsume_client.comment(token, "so be it", as_user=who)
    said = [(one.author, one.text) for one in (await natsume_client.status(token)).comments]
    assert said == [("eve", "so be it"), ("ada", "so be it")]


async def test_a_service_that_does_not_know_the_actor_can_tell_its_rights(projected, natsume_settings):
    token = await projected(Shared(), owner="ada")
    async with connect(settings=natsume_settings, registry=Registry()) as stranger:
        assert await stranger.letters.replay(token, as_user="ada")


async def test_the_list_leaves_out_what_one_may_not_see(projected, natsume_client):
    mine = await projected(Noop(1), owner="ada")
    theirs = await projected(Noop(2), owner="bob", tenant="lhcb")
    listed = {
        name: {row.id for row in (await natsume_client.ledger.find(as_user=who)).tasks}
        for name, who in {"ada": "ada", "lhcb": LHCB, "nobody": Who(), "operator": None}.items()
    }
    assert (listed["ada"], listed["lhcb"], listed["nobody"]) == ({mine}, {theirs}, set())
    assert listed["operator"] >= {mine, theirs}


async def test_the_list_tells_ends_that_only_the_broker_knows_yet(
    natsume_client, natsume_settings, engine, natsume_start_worker
):
    async with conducting(natsume_settings, Registry.of_classes(ALL)):
        token = await natsume_client.submit(Noop(1), owner="ada")
        await until(natsume_client.ledger.find, lambda page: page.tasks)
    await natsume_start_worker()
    await task_done(natsume_client, token)
    assert [row.state for row in (await natsume_client.ledger.find()).tasks] == [State.COMPLETED]
    assert (await natsume_client.ledger.find(Filter(states=(State.ENQUEUED,)))).tasks == []


async def test_pages_follow_each_other_to_the_end(natsume_client, natsume_conductor, engine):
    tokens = await natsume_client.submit_many([Noop(n) for n in range(7)], track=True)
    await until(natsume_client.ledger.find, lambda page: len(page.tasks) == len(tokens))
    found, place = [], None
    while True:
        page = await natsume_client.ledger.find(count=3, after=place)
        found += [row.id for row in page.tasks]
        place = page.next
        if place is None:
            break
    assert (sorted(found), len(found)) == (sorted(tokens), 7)


async def test_without_a_ledger_the_records_tell(natsume_client, natsume_worker, natsume_settings):
    if natsume_settings.database_url.startswith("sqlite"):
        token = await natsume_client.submit(Noop(1), owner="ada")
        await task_done(natsume_client, token)
        assert (await natsume_client.status(token, as_user="ada")).state is State.COMPLETED


async def test_waiting_for_an_end_is_told_by_its_record(
    natsume_client, natsume_start_worker, natsume_conductor, engine
):
    token = await natsume_client.submit(Noop(1), owner="ada")
    waiting = asyncio.create_task(natsume_client.ledger.ended(token, 30, as_user="ada"))
    await natsume_start_worker()
    assert (await waiting).state is State.COMPLETED
