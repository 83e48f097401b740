"""What is committed into an outbox beside the ledger has its token, and is known by it before anything is sent."""

import asyncio
import re

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from natsume import Who
from natsume.actors.registry import Registry
from natsume.adapters.sql.ledger import SqlLedger
from natsume.adapters.sql.reading import SqlReading
from natsume.cli.following import Follower
from natsume.cli.task_row import row_of
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.core.projection import project
from natsume.exceptions import LedgerError, UnknownTask
from natsume.model.task import State
from natsume.outbox import create_table, table
from natsume.relay import Relay
from natsume.testing import until
from recorded import submitted

from .actors import ALL, Double

DAY_S = 86400.0
TENANT, STRANGER = Who("eve", ("lhcb",)), Who("mallory", ("cms",))


@pytest.fixture
async def outbox(engine):
    await create_table(engine)
    return engine


@pytest.fixture
async def submit(outbox, natsume_client):
    async def submit(number: int, **given) -> str:
        async with AsyncSession(outbox) as session, session.begin():
            return await natsume_client.submit(Double(number), session=session, **given)

    return submit


async def test_a_token_is_readable_by_those_who_may_before_anything_is_sent(natsume_client, submit):
    token = await submit(1, owner="ada", tenant="lhcb", delay=DAY_S)
    for who in ("ada", TENANT, None):
        status = await natsume_client.status(token, as_user=who)
        assert (status.state, status.actor, status.lane) == (State.ALLOCATED, "t:Double", "normal.small")
        assert (status.owner, status.tenant, status.attempts) == ("ada", "lhcb", 0)
        assert status.due_at == pytest.approx(status.submitted_at + DAY_S, abs=1.0)
    for who in ("bob", STRANGER, Who()):
        with pytest.raises(UnknownTask, match="nothing is known"):
            await natsume_client.status(token, as_user=who)


async def test_a_rollback_and_an_unknown_token_are_unknown(natsume_client, outbox):
    async with AsyncSession(outbox) as session:
        token = await natsume_client.submit(Double(1), session=session)
        await session.rollback()
    for one in (token, "0" * 32):
        with pytest.raises(UnknownTask):
            await natsume_client.status(one)


async def test_it_goes_from_its_row_over_the_broker_to_the_ledger_and_is_known_all_the_way(
    natsume_client, natsume_settings, submit, outbox, monkeypatch, rows
):
    monkeypatch.setattr("natsume.relay._FORGET_S", 0.0)
    relay, registry = Relay(outbox, natsume_client.sending), Registry.of_classes(ALL)
    token = await submit(2, owner="ada")
    waiting = asyncio.create_task(natsume_client.result(token, as_user="ada"))
    states = [(await natsume_client.status(token)).state]
    assert await relay.once() == 1
    states.append((await natsume_client.status(token)).state)
    async with conducting(natsume_settings, registry):
        await until(rows, lambda found: token in found)
        async with working(natsume_settings, registry):
            assert await waiting == 4
        states.append((await natsume_client.status(token)).state)

        async def left() -> int:
            await relay.once()
            async with outbox.connect() as connection:
                return len((await connection.execute(table.select())).all())

        await until(left, lambda count: count == 0)
        states.append((await natsume_client.status(token)).state)
    assert states == [State.ALLOCATED, State.ENQUEUED, State.COMPLETED, State.COMPLETED]


async def test_who_waits_for_its_end_sees_how_it_is_meanwhile(natsume_client, submit):
    token = await submit(1)
    assert (await natsume_client.ledger.ended(token, 0.01)).state is State.ALLOCATED


async def test_a_terminal_that_follows_it_sees_it_from_its_row_to_its_end(
    natsume_client, natsume_settings, natsume_worker, submit, outbox, capsys
):
    token, said = await submit(3), []

    async def states() -> list[str]:
        said.append(capsys.readouterr().out)
        return re.findall(r'"state":"(\w+)"', "".join(said))

    following = [
        asyncio.create_task(Follower(row_of, patient=patient).run(natsume_settings, token)) for patient in (False, True)
    ]
    await until(states, lambda found: found == ["ALLOCATED"] * 2)
    await Relay(outbox, natsume_client.sending).once()
    assert await asyncio.gather(*following) == [State.COMPLETED] * 2
    assert (await states())[-1] == "COMPLETED"
    with pytest.raises(UnknownTask):
        await Follower(row_of).run(natsume_settings, "0" * 32)


async def test_what_is_projected_and_forgotten_between_two_questions_is_found(outbox, monkeypatch):
    async def too_late(_engine, task_id: str) -> None:
        await SqlLedger(outbox).project(project([submitted(task_id)]), "b", 1)

    monkeypatch.setattr("natsume.adapters.sql.reading.allocated", too_late)
    assert (await SqlReading(outbox).get("t")).row.state is State.ENQUEUED


async def test_the_database_is_asked_the_same_of_a_token_that_is_not_theirs_and_of_none(submit, outbox):
    token, asked = await submit(1, owner="ada"), []
    event.listen(outbox.sync_engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    assert await SqlReading(outbox).get(token, STRANGER) is None
    theirs, asked[:] = list(asked), []
    assert await SqlReading(outbox).get("0" * 32, STRANGER) is None
    assert theirs == asked


async def test_a_row_that_cannot_be_read_is_told_with_its_number(natsume_client, submit, outbox):
    token = await submit(1)
    async with outbox.begin() as connection:
        await connection.execute(table.update().values(subject="no subject"))
    with pytest.raises(LedgerError, match=rf"row 1 of the outbox, of task {token}"):
        await natsume_client.status(token)


async def test_what_waits_in_an_outbox_is_not_cancelled_but_said_to_wait_there(natsume_client, submit):
    token = await submit(1)
    with pytest.raises(UnknownTask, match="not published from its outbox yet"):
        await natsume_client.cancel(token)
