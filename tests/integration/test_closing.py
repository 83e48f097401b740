"""A connection that is closed is closed, also while its broker is gone."""

import asyncio

from natsume.adapters.nats.broker import Broker
from natsume.testing import until


async def test_who_closes_while_the_broker_is_gone_tries_no_longer(natsume_server, natsume_settings, monkeypatch):
    broker = await Broker.connect(natsume_settings)
    tries: list[object] = []

    async def refused_as_it_is_cancelled(server):
        tries.append(server)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if len(tries) < 3:
                raise ConnectionRefusedError from None  # as asyncio.wait_for of Python 3.11 does
            raise

    monkeypatch.setattr(broker.wire, "_connect_to_server", refused_as_it_is_cancelled)
    natsume_server.kill()
    await until(lambda: tries)
    await broker.close()
    assert [task for task in asyncio.all_tasks() if "_attempt_reconnect" in repr(task)] == []


async def test_a_connection_that_is_lost_as_it_closes_is_closed(natsume_broker, natsume_server):
    """A reconnect that has just begun waits for the old transport as well, and is cancelled there."""
    wire, closing = natsume_broker.wire, []
    wire.on_lost.append(lambda: closing.append(asyncio.create_task(wire.close())))
    natsume_server.kill()
    await until(lambda: closing)
    await closing[0]
    assert wire.is_closed
