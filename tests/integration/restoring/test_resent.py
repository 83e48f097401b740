"""A submitter dies between the record of its task and the task: a conductor sends it, and it runs once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from natsume.actors.registry import Registry
from natsume.adapters.sql.schema import tasks
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.model import times
from natsume.service.submission import message_of, submitted_of
from natsume.testing import task_done, until

from .actors import ALL, RUNS, Kept

REGISTRY = Registry.of_classes(ALL)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(times, "RESEND_AFTER_S", 0.5)
    monkeypatch.setattr(times, "RESEND_S", 0.2)


@pytest.fixture
def submitted(natsume_broker):
    """Submits a task as far as its record."""

    async def write(task: Kept, due: float | None = None) -> str:
        message = message_of(REGISTRY.of(task), task, natsume_broker.now())
        await natsume_broker.outgoing.record(submitted_of(message, natsume_broker.now(), due))
        return message.id

    return write


async def test_a_task_that_was_never_sent_runs_once(natsume_broker, natsume_settings, engine, submitted, impatient):
    due = (datetime.now(UTC) + timedelta(seconds=2)).timestamp()
    tokens = [await submitted(Kept("now")), await submitted(Kept("later"), due)]
    async with (
        connect(settings=natsume_settings, registry=REGISTRY) as client,
        conducting(natsume_settings, REGISTRY),
        conducting(natsume_settings, REGISTRY),
        working(natsume_settings, REGISTRY),
    ):
        ends = [await task_done(client, token) for token in tokens]
        assert ends[1].started_at >= due - 0.01
        after = [await client.submit(Kept(f"after {number}")) for number in range(5)]
        await asyncio.gather(*map(client.result, after))
    assert set(RUNS.values()) == {1}


async def test_a_task_that_waits_in_its_lane_is_not_there_twice(natsume_broker, natsume_settings, engine, impatient):
    async with connect(settings=natsume_settings, registry=REGISTRY) as client:
        tokens = await client.submit_many([Kept("one"), Kept("two")])
        async with conducting(natsume_settings, REGISTRY):

            async def resent() -> int:
                async with engine.connect() as connection:
                    query = select(func.count()).select_from(tasks).where(tasks.c.resent_at.is_not(None))
                    return (await connection.execute(query)).scalar_one()

            await until(resent, lambda count: count == len(tokens))
        assert (await natsume_broker.stream_info("TASKS"))["state"]["messages"] == 2
