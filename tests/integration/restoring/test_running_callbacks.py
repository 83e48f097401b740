"""A broker is emptied while what a join called runs, which the ledger knows by its join alone: it runs again, once."""

import pytest

from natsume import chain
from natsume.actors.registry import Registry
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.model.record import child_id
from natsume.testing import until

from .actors import ALL, RUNS, Follows, Held, Plain

REGISTRY = Registry.of_classes(ALL)


@pytest.mark.parametrize(
    ("flow", "name", "read"),
    [(Held(), "hangs", ["one", "two"]), (chain(Plain("first"), Follows()), "follows", "after first")],
    ids=["callback", "link"],
)
async def test_it_runs_again(natsume_broker, natsume_settings, engine, states, wipe, caplog, flow, name, read):
    async with (
        connect(settings=natsume_settings, registry=REGISTRY) as client,
        conducting(natsume_settings, REGISTRY),
        working(natsume_settings, REGISTRY),
    ):
        token = await client.submit(flow) if isinstance(flow, Held) else await client.spawn(flow)
        await until(lambda: RUNS[name] == 1)
        found = await until(states, lambda found: "RUNNING" in found.values())
        (running,) = [one for one, state in found.items() if state == "RUNNING"]
    wipe()
    async with (
        connect(settings=natsume_settings, registry=REGISTRY) as client,
        conducting(natsume_settings, REGISTRY),
        working(natsume_settings, REGISTRY),
    ):
        await until(lambda: "the broker is rebuilt:" in caplog.text)
        await until(states, lambda found: found.get(running) == "COMPLETED")
        assert await client.result(running) == read
        if isinstance(flow, Held):
            assert running == child_id(child_id(token, "join-0"), "callback")
    assert RUNS[name] == 2
