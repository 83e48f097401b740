"""A row of the outbox becomes a task once its transaction has committed, and only then."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
from sqlalchemy import create_engine, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from natsume import BaseTask, Unique
from natsume.actors.registry import Registry
from natsume.adapters.nats.kept import RESTORED
from natsume.binding import bind
from natsume.compose.conductor import conducting
from natsume.connecting import connect
from natsume.exceptions import Unbound, UnknownTask, UsageError
from natsume.model import times
from natsume.model.record import child_id
from natsume.outbox import create_table, metadata, table
from natsume.relay import Relay, relaying
from natsume.testing import task_done, until


@dataclass
class Ship(BaseTask):
    number: int

    runs: ClassVar[Counter[int]] = Counter()

    async def execute(self) -> int:
        self.runs[self.number] += 1
        return self.number


@dataclass
class Alone(Ship):
    unique = Unique()


class Parent(BaseTask):
    async def execute(self) -> None:
        await Ship(1).schedule(session=object())


@dataclass
class Opening(BaseTask):
    url: str

    async def execute(self) -> str:
        async with connect(self.url):
            return await Ship(1).schedule()


@pytest.fixture(autouse=True)
def natsume_registry():
    Ship.runs.clear()
    return {f"t:{cls.__name__}": cls for cls in (Ship, Alone, Parent, Opening)}


@pytest.fixture
async def engine(database_url):
    engine = create_async_engine(database_url)
    await create_table(engine)
    await create_table(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
def relay(engine, natsume_client):
    return Relay(engine, natsume_client.sending)


@pytest.fixture
async def session(engine):
    async with AsyncSession(engine) as session:
        yield session


async def rows(engine) -> int:
    async with engine.connect() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def test_a_commit_submits_and_a_rollback_does_not(natsume_client, natsume_worker, engine, session, relay):
    async with session.begin():
        token = await natsume_client.submit(Ship(1), session=session, owner="ada", labels={"a": "b"})
        assert await relay.once() == 0
    with pytest.raises(UnknownTask):
        await natsume_client.status(token)
    await natsume_client.submit(Ship(2), session=session)
    await session.rollback()
    assert await relay.once() == 1
    assert await relay.once() == 0
    assert await natsume_client.result(token) == 1
    assert (await natsume_client.status(token)).owner == "ada"
    assert Ship.runs == {1: 1}


async def test_schedule_takes_a_session_where_a_client_is_bound(natsume_client, natsume_worker, session, relay):
    at = datetime.now(UTC) + timedelta(hours=1)
    with bind(natsume_client):
        async with session.begin():
            token = await Ship(1).schedule(session=session)
            later = await Ship(2).schedule(at, session=session)
    assert await relay.once() == 2
    assert await natsume_client.result(token) == 1
    assert (await natsume_client.status(later)).due_at == pytest.approx(at.timestamp())


async def test_schedule_submits_with_the_client_that_is_open(
    natsume_settings, natsume_registry, natsume_worker, session
):
    async with connect(settings=natsume_settings, registry=Registry.of_classes(natsume_registry)) as client:
        assert await client.result(await Ship(1).schedule()) == 1
        async with session.begin():
            token = await Ship(2).schedule(session=session)
        assert await Relay(session.bind, client.sending).once() == 1
        assert await client.result(token) == 2
    client = await connect(settings=natsume_settings, registry=Registry.of_classes(natsume_registry))
    assert await client.result(await Ship(3).schedule()) == 3
    await client.close()
    with pytest.raises(Unbound):
        await Ship(4).schedule()


async def test_a_client_that_a_task_opens_takes_no_children(
    natsume_client, natsume_worker, natsume_conductor, natsume_settings
):
    token = await natsume_client.submit(Opening(natsume_settings.nats_url))
    child = await natsume_client.result(token)
    assert child == child_id(token, 0)
    assert await natsume_client.result(child) == 1


async def test_a_commit_is_told_to_the_relay(natsume_client, natsume_worker, engine, session, monkeypatch):
    monkeypatch.setattr("natsume.relay._LOOK_FIRST_S", 60.0)
    monkeypatch.setattr("natsume.relay._LOOK_LAST_S", 60.0)
    async with relaying(engine, natsume_client):
        for number in range(3):
            async with session.begin():
                token = await natsume_client.submit(Ship(number), session=session)
            assert await natsume_client.result(token) == number


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_any_kind_of_session_will_do(natsume_client, natsume_worker, engine, relay, database_url):
    tokens = []
    async with engine.begin() as connection:
        tokens.append(await natsume_client.submit(Ship(1), session=connection))
    plain = create_engine(database_url.replace("+aiosqlite", ""))
    with Session(plain) as session, session.begin():
        tokens.append(await natsume_client.submit(Ship(2), session=session))
    with plain.begin() as connection:
        tokens.append(await natsume_client.submit(Ship(3), session=connection))
    plain.dispose()
    assert await relay.once() == 3
    assert [await natsume_client.result(token) for token in tokens] == [1, 2, 3]
    with pytest.raises(UsageError, match="pass a session or a connection"):
        await natsume_client.submit(Ship(1), session=object())


async def test_a_row_that_nobody_can_read_is_told_and_holds_up_no_other(
    natsume_client, natsume_worker, engine, session, relay, caplog
):
    async with session.begin():
        spoilt = await natsume_client.submit(Ship(1), session=session)
        token = await natsume_client.submit(Ship(2), session=session)
    async with engine.begin() as connection:
        await connection.execute(update(table).where(table.c.id == spoilt).values(subject="odd"))
    assert await relay.once() == 1
    assert await natsume_client.result(token) == 2
    assert "row 1 of the outbox is not published: " in caplog.text
    assert await rows(engine) >= 1


async def test_a_row_whose_relay_died_is_sent_by_another_and_runs_once(
    natsume_client, natsume_worker, engine, session, relay, monkeypatch
):
    async with session.begin():
        token = await natsume_client.submit(Ship(1), session=session)
    end = natsume_client.sending.end

    async def dies() -> int:
        raise asyncio.CancelledError

    monkeypatch.setattr(natsume_client.sending, "end", dies)
    with pytest.raises(asyncio.CancelledError):
        await relay.once()
    monkeypatch.setattr(natsume_client.sending, "end", end)
    assert await natsume_client.result(token) == 1
    assert await relay.once() == 0
    monkeypatch.setattr(times, "RELAY_CLAIM_S", 0.0)
    async with engine.begin() as connection:
        await connection.execute(table.update().values(claimed_until=0.0))
    assert await relay.once() == 1
    await natsume_client.result(await natsume_client.submit(Ship(2)))
    assert Ship.runs == {1: 1, 2: 1}


async def test_a_row_stays_until_the_ledger_knows_its_task(
    natsume_client, natsume_settings, engine, session, relay, monkeypatch, database_url
):
    monkeypatch.setattr("natsume.relay._FORGET_S", 0.0)
    async with session.begin():
        await natsume_client.submit(Ship(1), session=session)
    assert await relay.once() == 1
    assert await rows(engine) == 1
    async with conducting(natsume_settings):
        await until(relay.once, lambda _: True)

        async def left() -> int:
            await relay.once()
            return await rows(engine)

        await until(left, lambda count: count == 0)


async def test_a_row_that_another_broker_had_is_sent_again_after_what_the_ledger_knows(
    natsume_broker, natsume_client, natsume_worker, engine, session, relay
):
    async with session.begin():
        token = await natsume_client.submit(Ship(1), session=session)
    assert await relay.once() == 1
    async with engine.begin() as connection:
        await connection.execute(table.update().values(broker="lost"))
    again = Relay(engine, natsume_client.sending)
    assert await again.once() == 0
    await natsume_broker.publisher.publish(RESTORED.encode(), b"", b"1")
    assert await again.once() == 1
    assert await natsume_client.result(token) == 1


async def test_a_unique_task_takes_its_place_when_it_is_published(natsume_client, natsume_worker, session, relay):
    async with session.begin():
        first = await natsume_client.submit(Alone(1), delay=3600, session=session)
        second = await natsume_client.submit(Alone(1), delay=3600, session=session)
    assert await relay.once() == 2
    states = {(await natsume_client.status(token)).state for token in (first, second)}
    assert states == {"WAITING", "CANCELLED"}


async def test_children_follow_from_the_commit_of_their_task(natsume_client, natsume_worker):
    token = await natsume_client.submit(Parent())
    assert "leave out session=" in (await task_done(natsume_client, token)).failure.message


def test_the_table_is_in_the_metadata():
    assert metadata.tables["natsume_outbox"] is table
