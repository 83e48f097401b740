"""When a schedule ticked last is known in a broker that was made anew, before it ticks again."""

import asyncio
import json

import pytest
from sqlalchemy import select

from natsume import IntervalSeconds, PeriodicBaseTask
from natsume.actors.registry import Registry
from natsume.adapters.sql.schema import tasks
from natsume.cli.main import main
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.connected import connected
from natsume.model import times
from natsume.model.config import Applied, ScheduleConfig, TaskConfig, TasksConfig
from natsume.model.subject import kv
from natsume.model.tick import Ran, ScheduleKey
from natsume.testing import until


class Beat(PeriodicBaseTask):
    default_schedule = IntervalSeconds(1)

    async def execute(self) -> None:
        return None


REGISTRY = Registry.of_classes({"r:Beat": Beat})
KEYS = [ScheduleKey("r:Beat"), ScheduleKey("r:Beat", "again")]
APPLIED = Applied(
    TasksConfig(common={"r:Beat": TaskConfig(schedules={"again": ScheduleConfig(every=1)})}), "a", 1.0, "h"
)


@pytest.fixture
def started(engine):
    """When a task started, as the ledger has it."""

    async def read(task_id: str) -> float | None:
        async with engine.connect() as connection:
            at = (await connection.execute(select(tasks.c.started_at).where(tasks.c.id == task_id))).scalar()
        return at and at.timestamp()

    return read


async def test_the_last_start_is_brought_back(natsume_broker, natsume_settings, started, wipe, capsys, monkeypatch):
    ids = [key.id for key in KEYS]
    await natsume_broker.config.put(APPLIED, 0)
    async with conducting(natsume_settings, REGISTRY):
        async with working(natsume_settings, REGISTRY):
            await until(lambda: natsume_broker.schedules.ran(ids), lambda found: len(found) == len(ids))
        ran = await natsume_broker.schedules.ran(ids)
        for one in ran.values():
            await until(lambda one=one: started(one.tick))
    wipe()
    async with conducting(natsume_settings, REGISTRY), connected(natsume_settings) as broker:
        known = await until(lambda: broker.schedules.ran(ids), lambda found: len(found) == len(ids))
        assert known == {one: Ran(ran[one].tick, await started(ran[one].tick)) for one in ids}
        (stored,) = await broker.config_reader.last([kv("config", f"ran.{ids[0]}")])
        assert stored.headers["Nats-TTL"] == f"{times.START_TTL_S:.0f}s"
    monkeypatch.setattr(Registry, "load", classmethod(lambda cls, prefixes=(): REGISTRY))
    assert await asyncio.to_thread(main, ["schedules", "ls", "--json", "--nats-url", natsume_settings.nats_url]) == 0
    assert [row["last"] is not None for row in json.loads(capsys.readouterr().out)] == [True, True]
