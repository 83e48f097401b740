"""A broker is recreated on purpose, while services submit and workers run: nothing is lost, and each runs once."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from natsume.actors.registry import Registry
from natsume.adapters.nats.emptying import Emptying
from natsume.adapters.sql.remains import SqlEpochs
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.restoring.recreation import Recreation
from natsume.testing import until

from .actors import ALL, RUNS, Kept, Plain

REGISTRY = Registry.of_classes(ALL)


@pytest.fixture
def restore(natsume_command):
    return partial(natsume_command, "restore")


async def test_nothing_is_lost_and_each_runs_once(natsume_broker, natsume_settings, engine, restore, natsume_server):
    async with (
        connect(settings=natsume_settings, registry=REGISTRY) as client,
        conducting(natsume_settings, REGISTRY),
    ):
        created = (await natsume_broker.stream_info("RECORDS"))["created"]
        at = datetime.now(UTC) + timedelta(hours=1)
        later = [await client.submit(Plain("later"), at=at), await client.submit(Kept("later too"), at=at)]
        tokens = await client.submit_many([Plain(f"waits {number}") for number in range(30)])
        await natsume_broker.publisher.publish(b"task.normal.small.r.Plain", b"", b'{"name":"by hand"}')
        stop = asyncio.Event()

        async def serve() -> None:
            number = 0
            while not stop.is_set():
                tokens.append(await client.submit((Plain, Kept)[number % 2](f"meanwhile {number}")))
                number += 1
                await asyncio.sleep(0.01)

        serving = asyncio.create_task(serve())
        await until(lambda: len(tokens) > 40)
        code, out, err = await restore("--recreate", "--json")
        assert code == 0, err
        more = len(tokens) + 10
        await until(lambda: len(tokens) > more)
        stop.set()
        await serving
        told = json.loads(out)
        assert told["dropped"] == 0 or told["by_another"]
        assert "are written down" in err
        assert (await natsume_broker.stream_info("RECORDS"))["created"] != created
        async with working(natsume_settings, REGISTRY):
            for token in tokens:
                await client.result(token, 20)
            await until(lambda: RUNS["by hand"])
        assert {(await client.status(token)).state for token in later} == {"WAITING"}
    assert "later" not in RUNS
    assert set(RUNS.values()) == {1}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_broker_without_loss_is_left_alone(natsume_broker, natsume_settings, engine, restore):
    async with conducting(natsume_settings, REGISTRY):
        await until(natsume_broker.config.read, lambda _: True)
    assert await restore() == (0, "the broker was not lost: nothing to restore\n", "")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_without_a_conductor_nothing_is_deleted(natsume_broker, natsume_settings, engine, restore):
    async with connect(settings=natsume_settings, registry=REGISTRY) as client:
        token = await client.submit(Kept("stays"))
        code, _, err = await restore("--recreate", "--wait-s", "1")
        assert code == 1
        assert "conductors have not dealt with all that ended; does one run?: 1 are left" in err
        async with working(natsume_settings, REGISTRY):
            assert await client.result(token) == "stays"


async def test_one_that_dies_is_gone_on_with(natsume_broker, natsume_settings, engine, restore, monkeypatch):
    async with connect(settings=natsume_settings, registry=REGISTRY) as client:
        token = await client.submit(Plain("stays"))
        async with conducting(natsume_settings, REGISTRY):
            epochs = SqlEpochs(engine)
            await until(lambda: epochs.meet(natsume_broker.records_created), lambda epoch: epoch.restored)

            async def dies(self) -> None:
                raise asyncio.CancelledError

            monkeypatch.setattr(Emptying, "remove", dies)
            with pytest.raises(asyncio.CancelledError):
                await Recreation(natsume_broker, epochs, 20.0, lambda _: None).carry_out()
            code, _, err = await restore("--recreate")
            assert code == 0, err
            async with working(natsume_settings, REGISTRY):
                assert await client.result(token, 20) == "stays"
    assert RUNS == {"stays": 1}
