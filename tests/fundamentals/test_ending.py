"""A task that loses its first cancellation ends; what it raised is neither raised by who ends it nor lost."""

import asyncio
from functools import partial
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from natsume.ending import end
from natsume.relay import Relay, relaying


async def deaf(*_relay):
    """Ends at its second cancellation."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


async def test_a_task_that_loses_its_first_cancellation_ends():
    tasks = [asyncio.create_task(deaf()), asyncio.create_task(asyncio.Event().wait())]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end(*tasks, again_s=0.01)
    assert all(task.cancelled() for task in tasks)


async def test_what_a_task_raised_is_there_for_who_asks():
    async def fail():
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await end(task)
    with pytest.raises(ZeroDivisionError):
        task.result()


async def test_what_has_ended_and_nothing_at_all_are_not_waited_for():
    task = asyncio.create_task(asyncio.sleep(0, "done"))
    await task
    async with asyncio.timeout(10):
        await end()
        await end(task)
    assert task.result() == "done"


@pytest.fixture
def relay_runs(monkeypatch):
    """`relaying` with this in place of what a relay does."""

    def relaying_with(run):
        monkeypatch.setattr(Relay, "run", run)
        monkeypatch.setattr("natsume.relay.end", partial(end, again_s=0.01))
        return relaying(create_async_engine("sqlite+aiosqlite://"), SimpleNamespace(sending=None))

    return relaying_with


async def test_a_relay_ends_also_where_a_driver_loses_a_cancellation(relay_runs):
    async with asyncio.timeout(10) as bound, relay_runs(deaf):
        await asyncio.sleep(0)
    assert not bound.expired()


def failing(error):
    async def run(_relay):
        raise error

    return run


async def test_what_a_relay_fails_with_is_raised_but_for_what_its_database_says(relay_runs):
    async with relay_runs(failing(SQLAlchemyError())):
        await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        async with relay_runs(failing(ZeroDivisionError())):
            await asyncio.sleep(0)
