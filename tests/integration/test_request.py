"""A request to the broker is one wait that can be cancelled at any moment."""

import asyncio

import pytest


async def test_a_cancellation_that_comes_with_the_answer_is_not_lost(natsume_broker, monkeypatch):
    ask = natsume_broker.wire.request

    async def answered_as_it_is_cancelled(*args, **kwargs):
        task = asyncio.current_task()
        answer = await ask(*args, **kwargs)
        task.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return answer  # as asyncio.wait_for of Python 3.11 does

    monkeypatch.setattr(natsume_broker.wire, "request", answered_as_it_is_cancelled)
    asking = asyncio.create_task(natsume_broker.request("$JS.API.INFO", b""))
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_who_was_cancelled_before_may_still_ask(natsume_broker):
    async def clean_up():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return await natsume_broker.request("$JS.API.INFO", b"")

    cleaning = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    cleaning.cancel()
    assert b"account_info" in await cleaning
