"""What may be dropped with its worker ends so, is told so, and does not run again."""

from natsume.actors.registry import Registry
from natsume.client import Client
from natsume.compose.worker import working
from natsume.model.task import State
from natsume.settings import Settings
from natsume.testing import task_done, until

from . import actors
from .actors import Fleeting, Quick


async def test_a_shutdown_drops_what_says_that_it_may_be(
    natsume_client: Client, natsume_settings: Settings, natsume_start_worker
) -> None:
    async with working(natsume_settings, Registry.of_classes(actors.ACTORS)):
        token = await natsume_client.submit(Fleeting(), owner="ada")
        await until(lambda: actors.RAN == ["patient"])
    status = await natsume_client.status(token, as_user="ada")
    assert (status.state, status.done.letter) == (State.DROPPED, None)
    await natsume_start_worker()
    await task_done(natsume_client, await natsume_client.submit(Quick()))
    assert actors.RAN == ["patient", "quick"]
