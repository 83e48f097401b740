"""Replays and discards on a real broker: once, whoever says it how often and dies where."""

import asyncio
import json
from dataclasses import dataclass

import msgspec
import nats
import pytest
from msgspec.structs import replace

from natsume import BaseTask, CallbackSpawner, JoinResults
from natsume.cli.main import main
from natsume.connecting import connect
from natsume.core.settling import Wanted
from natsume.exceptions import BrokerError, UnknownTask, UsageError
from natsume.model.record import Done, Letter, When, child_id, replay_id
from natsume.model.subject import RECORDS
from natsume.model.task import Reason, State
from natsume.service.replaying import order_of
from natsume.testing import task_done, until

RAN: list[object] = []
BROKEN: set[int] = set()
WHY = {"who": "ada", "why": "the disk is back"}


@dataclass
class Work(BaseTask):
    number: int

    async def execute(self) -> int:
        if self.number in BROKEN:
            raise ValueError(f"{self.number} is broken")
        RAN.append(self.number)
        return self.number


@dataclass
class Kept(Work):
    dlq_eligible = True


@dataclass
class Sum(BaseTask):
    async def execute(self, results: JoinResults) -> int:
        total = sum([one.result or 0 async for one in results])
        if "sum" in BROKEN:
            raise ValueError("the sum is broken")
        RAN.append(("sum", total))
        return total


@dataclass
class KeptSum(Sum):
    dlq_eligible = True


@dataclass
class Alarm(BaseTask):
    async def execute(self) -> None:
        RAN.append("alarm")


@dataclass
class Parent(BaseTask):
    when: When = When.ALL_SUCCEEDED

    async def execute(self, spawner: CallbackSpawner) -> str:
        return await spawner.spawn_with_callback([Work(1), Work(2), Work(3)], Sum(), on_failure=Alarm(), when=self.when)


@pytest.fixture
def natsume_registry():
    RAN.clear()
    BROKEN.clear()
    return {f"t:{cls.__name__}": cls for cls in (Work, Kept, Sum, KeptSum, Alarm, Parent)}


async def died(client, task, **options) -> str:
    token = await client.submit(task, **options)
    assert (await task_done(client, token)).letter is not None
    return token


async def join_of(broker, join_id):
    found = await broker.joins.read([join_id])
    assert join_id in found, "it is not open yet"
    return found[join_id][0]


async def blocked(client, broker) -> tuple[str, str]:
    """A join whose second member failed, and that member."""
    BROKEN.add(2)
    join = await client.result(await client.submit(Parent()))
    await until(lambda: join_of(broker, join), lambda found: (found.arrived_count, found.failed_count) == (2, 1))
    (failed,) = (await join_of(broker, join)).failed_ids()
    return join, failed


async def test_a_replay_completes_the_join_that_waited_and_its_callback_runs_once(
    natsume_client, natsume_broker, natsume_worker, natsume_conductor
):
    join, failed = await blocked(natsume_client, natsume_broker)
    await until(lambda: "alarm" in RAN)
    BROKEN.clear()
    tokens = await asyncio.gather(*(natsume_client.letters.replay(failed, **WHY) for _ in range(5)))
    assert set(tokens) == {replay_id(failed)}
    assert await natsume_client.result(child_id(join, "callback")) == 6, "the callback sees what the replay returned"
    assert (await join_of(natsume_broker, join)).state == "fired"
    assert (RAN.count(2), RAN.count(("sum", 6)), RAN.count("alarm")) == (1, 1, 1)
    done = (await natsume_client.status(tokens[0])).done
    assert (done.replay_of, done.join, done.member, done.attempt) == (failed, join, 1, 1)


async def test_a_replay_that_fails_again_is_a_dead_letter_and_replayable_in_its_turn(
    natsume_client, natsume_broker, natsume_worker, natsume_conductor, natsume_server, capsys
):
    join, failed = await blocked(natsume_client, natsume_broker)
    second = await natsume_client.letters.replay(failed, **WHY)
    again = await task_done(natsume_client, second)
    assert (again.letter.reason, again.replay_of) == (Reason.EXHAUSTED, failed)
    assert [letter.done.id async for letter in natsume_client.letters.ls()] == [second]
    assert await natsume_client.letters.replay(failed, **WHY) == second, "the old letter is dealt with"
    assert await asyncio.to_thread(main, ["joins", "show", join, "--json", "--nats-url", natsume_server.url]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["failed_members"]) == ("blocked", [failed])
    (replay,) = shown["replays"]
    assert (replay["member"], replay["replay"], replay["who"], replay["state"]) == (failed, second, "ada", "FAILED")
    BROKEN.clear()
    third = await natsume_client.letters.replay(second, **WHY)
    assert await natsume_client.result(child_id(join, "callback")) == 6
    assert [letter async for letter in natsume_client.letters.ls()] == []
    chain = (await natsume_client.letters.chains([failed]))[failed]
    told = [(link.settled.replay, link.settled.who, link.end.state) for link in chain]
    assert told == [(second, "ada", State.FAILED), (third, "ada", State.COMPLETED)]


async def test_a_join_that_counted_the_failure_as_an_end_fires_no_second_time(
    natsume_client, natsume_broker, natsume_worker, natsume_conductor
):
    BROKEN.add(2)
    join = await natsume_client.result(await natsume_client.submit(Parent(when=When.ALL_DONE)))
    assert await natsume_client.result(child_id(join, "callback")) == 4
    (failed,) = (await join_of(natsume_broker, join)).failed_ids()
    BROKEN.clear()
    token = await natsume_client.letters.replay(failed, **WHY)
    assert await natsume_client.result(token) == 2
    await until(lambda: join_of(natsume_broker, join), lambda found: found.failed_count == 0)
    assert [one for one in RAN if isinstance(one, tuple)] == [("sum", 4)]
    found = await join_of(natsume_broker, join)
    assert (found.state, found.failed_count) == ("fired", 0)


async def test_the_replay_of_a_callback_reads_its_joins_results(
    natsume_client, natsume_broker, natsume_worker, natsume_conductor
):
    BROKEN.add("sum")
    join = await natsume_client.spawn_with_callback([Work(4), Work(5)], KeptSum())
    callback = child_id(join, "callback")
    assert (await task_done(natsume_client, callback)).letter is not None
    BROKEN.clear()
    assert await natsume_client.result(await natsume_client.letters.replay(callback)) == 9


class Died(Exception):
    pass


STEPS = {"settled": ("_outgoing", "record"), "recorded": ("_outgoing", "submit"), "submitted": ("_letters", "settle")}


@pytest.mark.parametrize("after", STEPS)
async def test_a_crash_after_any_step_is_finished_by_the_next(natsume_client, natsume_broker, monkeypatch, after):
    """The decision stands, the submission or its note does not: one message, under one id."""
    token = await put_dead(natsume_broker, "old")
    letters = natsume_client.letters
    port, method = STEPS[after]
    real = getattr(getattr(letters, port), method)

    async def die(*arguments, **options):
        if after == "submitted" and not arguments[0].sent:
            return await real(*arguments, **options)
        raise Died

    with monkeypatch.context() as dying:
        dying.setattr(getattr(letters, port), method, die)
        with pytest.raises(Died):
            await letters.replay(token, **WHY)
    (letter,) = [letter async for letter in letters.ls()]
    assert (letter.settled.sent, letter.is_open) == (False, True)
    with pytest.raises(UsageError, match="finishes that"):
        await letters.discard(token)
    assert await letters.replay(token, who="bob", why="again") == replay_id(token)
    assert [letter async for letter in letters.ls()] == []
    assert await messages(natsume_broker) == 1
    (letter,) = await letters.find([token])
    assert (letter.settled.who, letter.settled.sent) == ("ada", True), "who decided it is who began"
    assert (await natsume_client.status(replay_id(token))).state is State.ENQUEUED


async def test_what_has_started_is_not_sent_again(natsume_client, natsume_broker, natsume_start_worker, monkeypatch):
    token = await put_dead(natsume_broker, "old", body=b'{"number":7}')
    letters = natsume_client.letters
    real = letters._letters.settle

    async def lost(record, revision):
        if record.sent:
            raise Died
        return await real(record, revision)

    with monkeypatch.context() as dying:
        dying.setattr(letters._letters, "settle", lost)
        with pytest.raises(Died):
            await letters.replay(token, **WHY)
    await natsume_start_worker()
    assert await natsume_client.result(replay_id(token)) == 7
    await until(lambda: messages(natsume_broker), lambda count: count == 0)

    async def send(*_, **__):
        raise AssertionError("it is sent again")

    monkeypatch.setattr(letters._outgoing, "submit", send)
    await letters.replay(token, **WHY)
    (letter,) = await letters.find([token])
    assert (letter.settled.sent, RAN) == (True, [7])


async def test_a_decision_whose_acknowledgement_was_lost_is_ones_own(natsume_client, natsume_broker, monkeypatch):
    token = await put_dead(natsume_broker, "old")
    port = natsume_client.letters._letters
    real = port.settle

    async def lost(record, revision):
        monkeypatch.setattr(port, "settle", real)
        await real(record, revision)
        raise BrokerError("no answer")

    monkeypatch.setattr(port, "settle", lost)
    await natsume_client.letters.replay(token, **WHY)
    assert await messages(natsume_broker) == 1


async def test_of_twenty_who_decide_at_once_one_does(natsume_settings, natsume_broker, natsume_client):
    token = await put_dead(natsume_broker, "old")

    async def decide(number: int) -> str:
        async with connect(settings=natsume_settings, registry=natsume_client.registry) as client:
            try:
                if number % 2:
                    return await client.letters.replay(token, who=f"u{number}")
                await client.letters.discard(token, who=f"u{number}")
            except UsageError as error:
                return str(error)
            return "discarded"

    said = await asyncio.gather(*map(decide, range(20)))
    (letter,) = await natsume_client.letters.find([token])
    replayed = letter.settled.message is not None
    assert said.count(replay_id(token)) == (10 if replayed else 0)
    assert said.count("discarded") == (0 if replayed else 10)
    assert await messages(natsume_broker) == int(replayed)
    info = await natsume_broker.stream_info(RECORDS, subjects_filter=f"record.settled.*.{token}")
    assert len(info["state"]["subjects"]) == 1


async def test_a_bulk_takes_what_was_there_when_it_began(natsume_client, natsume_broker):
    """A replay that fails at once is a letter that the same command must not meet, for ever."""
    for name in ("a", "b"):
        await put_dead(natsume_broker, name)
    seen = []
    async for letter in natsume_client.letters.ls():
        seen.append(letter.done.id)
        await put_dead(natsume_broker, f"{letter.done.id}-{len(seen)}")
    assert seen == ["a", "b"]


async def test_more_letters_than_one_page_come_in_order_with_what_was_decided(natsume_client, natsume_broker):
    names = [f"letter-{number:03}" for number in range(450)]
    for name in names:
        await put_dead(natsume_broker, name)
    await natsume_client.letters.discard(names[210])
    await natsume_client.letters.replay(names[449])
    left = [letter.done.id async for letter in natsume_client.letters.ls()]
    assert left == [name for name in names if name not in {names[210], names[449]}]
    everything = [letter async for letter in natsume_client.letters.ls(settled=True)]
    assert [letter.done.id for letter in everything if letter.settled] == [names[210], names[449]]
    assert len(everything) == 450


async def test_other_arguments_are_checked_before_anything_is_sent(natsume_client, natsume_broker, natsume_worker):
    BROKEN.add(1)
    token = await died(natsume_client, Kept(1), owner="ada", tenant="lhcb", labels={"run": "7"})
    with pytest.raises(UsageError):
        await natsume_client.letters.replay(token, task=Kept("x"))
    assert (await natsume_client.letters.find([token]))[0].settled is None
    new = await natsume_client.letters.replay(token, task=Kept(8), **WHY)
    done = await task_done(natsume_client, new)
    assert (done.owner, done.tenant, done.labels, done.replay_of) == ("ada", "lhcb", {"run": "7"}, token)
    assert RAN == [8]
    (letter,) = await natsume_client.letters.find([token])
    assert letter.settled.edited


async def test_what_could_not_be_read_runs_with_what_is_given(natsume_server, natsume_client, natsume_worker):
    connection = await nats.connect(natsume_server.url)
    send = connection.jetstream().publish
    told = await connection.subscribe("record.done.dead.*")
    await send("task.normal.small.t.Work", b"not json", headers={"ce-id": "unparsable"})
    await send("task.normal.small.t.Work", b'{"number":2}', headers={"ce-id": "header", "Natsume-Attempt": "x"})
    await send("task.normal.small.nothing", b'{"number":3}', headers={"ce-id": "unread"})
    await send("task.normal.small.t.Work", b'{"number":"x"}', headers={"ce-id": "invalid"})
    ends = [msgspec.json.decode((await told.next_msg(10)).data, type=Done) for _ in range(4)]
    await connection.close()
    (nobody,) = [done.id for done in ends if not done.actor]
    letters = natsume_client.letters
    with pytest.raises(UsageError, match="no JSON object"):
        await letters.replay("unparsable")
    with pytest.raises(UsageError, match="names no actor"):
        await letters.replay(nobody)
    with pytest.raises(UsageError, match="is for t:Work, not for Kept"):
        await letters.replay("header", actor="Kept")
    tokens = [
        await letters.replay("unparsable", task=Work(1)),
        await letters.replay("header"),
        await letters.replay(nobody, actor="Work"),
        await letters.replay("invalid", task=Work(4)),
    ]
    assert [await natsume_client.result(token) for token in tokens] == [1, 2, 3, 4]


async def test_a_discarded_letter_leaves_the_list_and_stays_to_be_looked_at(natsume_client, natsume_broker):
    token = await put_dead(natsume_broker, "old")
    for _ in range(2):
        await natsume_client.letters.discard(token, who="bob", why="too old")
    assert [letter async for letter in natsume_client.letters.ls(Wanted(actor="Work"))] == []
    with pytest.raises(UsageError, match="bob has discarded it"):
        await natsume_client.letters.replay(token)
    (letter,) = await natsume_client.letters.find([token])
    assert (letter.settled.kind, letter.settled.why, letter.done.letter.body) == ("discarded", "too old", b"{}")
    with pytest.raises(UnknownTask, match="no dead letter 'other'"):
        await natsume_client.letters.find([token, "other"])
    with pytest.raises(UsageError, match="why must be printable"):
        order_of("ada", "two\nlines")


async def messages(broker) -> int:
    return (await broker.stream_info("TASKS"))["state"]["messages"]


async def put_dead(broker, token: str, body: bytes = b"{}") -> str:
    """A dead letter as a worker writes it."""
    letter = Letter(Reason.EXHAUSTED, "task.normal.small.t.Work", body)
    done = Done(token, "t:Work", State.FAILED, token, "w", 1, 1.0, 2.0, "normal.small", letter=letter)
    await broker.records.commit(replace(done, tracked=True))
    return token
