"""A broker is emptied while a task that somebody cancelled waits for a worker: it does not run after all."""

from sqlalchemy import select

from natsume.actors.registry import Registry
from natsume.adapters.sql.schema import tasks
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.enums import Size
from natsume.model.task import State
from natsume.testing import task_done, until

from .actors import ALL, RUNS, Later

REGISTRY = Registry.of_classes(ALL)


async def test_what_was_to_be_cancelled_ends_cancelled(natsume_broker, natsume_settings, engine, wipe, caplog):
    async with connect(settings=natsume_settings, registry=REGISTRY) as client, conducting(natsume_settings, REGISTRY):
        unwanted, wanted = [await client.submit(Later(name), track=True) for name in ("unwanted", "wanted")]
        assert await client.cancel(unwanted, why="too late")

        async def flagged() -> list[str]:
            async with engine.connect() as connection:
                found = select(tasks.c.id).where(tasks.c.cancel_requested, tasks.c.subject.is_not(None))
                return list((await connection.execute(found)).scalars())

        await until(flagged, lambda ids: ids == [unwanted])
    wipe()
    async with connect(settings=natsume_settings, registry=REGISTRY) as client, conducting(natsume_settings, REGISTRY):
        await until(lambda: "the broker is rebuilt:" in caplog.text, within_s=30)
        async with working(natsume_settings, REGISTRY, Size.LARGE):
            assert await client.result(wanted) == "wanted"
            done = await task_done(client, unwanted)
    assert (done.state, done.flagged) == (State.CANCELLED, True)
    assert dict(RUNS) == {}, "a large task runs in a process of its own"
