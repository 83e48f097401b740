"""A broker is emptied after a member of an open join was replayed."""

from natsume.actors.registry import Registry
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.enums import Size
from natsume.model.record import child_id
from natsume.testing import until

from .actors import ALL, Mended

REGISTRY = Registry.of_classes(ALL)


async def test_the_callback_reads_what_the_replay_returned(natsume_broker, natsume_settings, states, wipe, engine):
    async with (
        connect(settings=natsume_settings, registry=REGISTRY) as client,
        conducting(natsume_settings, REGISTRY),
        working(natsume_settings, REGISTRY),
    ):
        parent = await client.submit(Mended(), track=True)
        member, other = child_id(parent, 0), child_id(parent, 1)
        await until(states, lambda found: found.get(member) == "FAILED" and other in found)
        again = await client.letters.replay(member)
        await until(states, lambda found: found.get(again) == "COMPLETED")
    wipe()
    callback = child_id(child_id(parent, "join-0"), "callback")
    async with (
        connect(settings=natsume_settings, registry=REGISTRY) as client,
        conducting(natsume_settings, REGISTRY),
        working(natsume_settings, REGISTRY),
        working(natsume_settings, REGISTRY, Size.LARGE),
    ):
        await until(states, lambda found: found.get(callback) == "COMPLETED")
        assert await client.result(callback) == ["mended", "six"]
