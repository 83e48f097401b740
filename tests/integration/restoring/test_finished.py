"""Replays that were begun and not sent: a conductor's finisher sends each once, and reads nothing without news."""

import pytest
from msgspec.structs import replace

from natsume.actors.registry import Registry
from natsume.adapters.sql.ledger import SqlLedger
from natsume.core.projection import project
from natsume.core.settling import judge, settled_of
from natsume.exceptions import BrokerError
from natsume.model import times
from natsume.model.record import Done, Letter, replay_id
from natsume.model.task import Reason, State
from natsume.restoring.restoration import finisher_of
from natsume.service.replaying import order_of
from recorded import done

from .actors import ALL

REGISTRY = Registry.of_classes(ALL)
REFUSED = 10054


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(times, "RESEND_AFTER_S", 0.0)


@pytest.fixture
def begun(natsume_client, natsume_broker):
    """Decides to replay a dead letter, and no more."""

    async def begin(token: str) -> None:
        letter = Letter(Reason.EXHAUSTED, "task.normal.small.r.Plain", b'{"name":"x"}')
        end = Done(token, "r:Plain", State.FAILED, "n", "w", 1, 1.0, 2.0, "normal.small", letter=letter)
        await natsume_broker.records.commit(end)
        letters = natsume_client.letters
        (found,) = await letters.find([token])
        order = order_of("ada", "mended")
        record = settled_of(found, order, judge(found, order, natsume_broker.now()).task, "n", natsume_broker.now())
        assert await natsume_broker.letters.settle(record, 0)

    return begin


@pytest.fixture
def finisher(natsume_broker, engine):
    return finisher_of(natsume_broker, engine, REGISTRY)


async def messages(broker) -> int:
    return (await broker.stream_info("TASKS"))["state"]["messages"]


async def open_letters(client) -> list[str]:
    return [letter.done.id async for letter in client.letters.ls()]


async def test_it_is_sent_once_and_then_nothing_is_read(natsume_client, natsume_broker, engine, begun, finisher):
    for number in range(70):
        await begun(f"old-{number}")
    other = finisher_of(natsume_broker, engine, REGISTRY)
    assert await finisher.once() == 70
    assert await other.once() == 0
    assert (await messages(natsume_broker), await open_letters(natsume_client)) == (70, [])
    await finisher.once()  # over its own notes, once
    read, pages = natsume_broker.letters.replayed, []

    async def spy(*asked):
        pages.append(await read(*asked))
        return pages[-1]

    finisher._letters.replayed = spy
    assert await finisher.once() == 0
    assert pages == [[]]


async def test_what_may_be_on_its_way_is_left_alone(natsume_client, natsume_broker, begun, finisher, monkeypatch):
    monkeypatch.setattr(times, "RESEND_AFTER_S", 60.0)
    await begun("young")
    assert await finisher.once() == 0
    assert (await messages(natsume_broker), await open_letters(natsume_client)) == (0, ["young"])
    monkeypatch.setattr(times, "RESEND_AFTER_S", 0.0)
    assert await finisher.once() == 1


async def test_one_that_is_refused_holds_up_no_other_and_is_tried_again(
    natsume_client, natsume_broker, begun, finisher, monkeypatch
):
    for token in ("large", "small"):
        await begun(token)
    submit = natsume_broker.outgoing.submit

    async def refuse(task, *, resent):
        if task.replay_of == "large":
            raise BrokerError("it is too large", REFUSED)
        return await submit(task, resent=resent)

    with monkeypatch.context() as refusing:
        refusing.setattr(natsume_broker.outgoing, "submit", refuse)
        assert await finisher.once() == 1
    assert await open_letters(natsume_client) == ["large"]
    assert await finisher.once() == 1
    assert await open_letters(natsume_client) == []


async def test_what_only_the_ledger_knows_to_have_ended_is_not_sent_again(
    natsume_client, natsume_broker, engine, begun, finisher, monkeypatch
):
    """Its submitter died before it noted that; since then the replay has ended, and its records were pruned."""
    monkeypatch.setattr(times, "PLAIN_TTL_S", 0.0)
    for token in ("ended", "unknown"):
        await begun(token)
    await SqlLedger(engine).project(project([done(replay_id("ended"))]), natsume_broker.records_created, 1)
    assert await finisher.once() == 2
    assert await natsume_client.status(replay_id("unknown"))
    assert (await messages(natsume_broker), await open_letters(natsume_client)) == (1, [])


async def test_what_is_no_decision_is_stepped_over(natsume_client, natsume_broker, begun, finisher):
    await natsume_broker.publisher.publish(b"record.settled.replayed.forged", b"", b"{}")
    await begun("old")
    (record,) = [one for one in await natsume_broker.letters.replayed(1, 9) if one.settled]
    strange = replace(record.settled, id="strange", message=replace(record.settled.message, subject="x"))
    assert await natsume_broker.letters.settle(strange, 0)
    await begun("new")
    await finisher.once()
    await finisher.once()
    assert await messages(natsume_broker) == 2
