"""A tick that is due while another runs, and ticks that nobody took for a while."""

import asyncio

import pytest

from natsume.actors.registry import Registry
from natsume.compose.conductor import reconciler_of
from natsume.model.record import Done
from natsume.model.subject import ready
from natsume.model.tick import ScheduleKey
from natsume.testing import until

from . import actors


@pytest.fixture
def natsume_registry():
    names = ("Long", "LongSkip", "LongAll", "Beat")
    return Registry.of_classes({f"t:{name}": getattr(actors, name) for name in names})


@pytest.fixture
async def armed(natsume_broker, natsume_settings, natsume_registry):
    """Arms one actor's schedule, and starts its count anew."""

    async def arm(cls):
        name = f"t:{cls.__name__}"
        cls.running, cls.most, cls.end = 0, 0, asyncio.Event()
        reconciler = reconciler_of(natsume_broker, natsume_settings, natsume_registry)
        await reconciler.once(lambda key: key.actor == name)
        return ScheduleKey(name)

    return arm


async def test_one_tick_waits_and_later_ones_are_recorded_as_skipped(armed, natsume_worker, ticks):
    key = await armed(actors.Long)
    skipped = await until(lambda: ticks(key, skipped=True), lambda found: len(found) >= 2)
    assert (actors.Long.running, actors.Long.most) == (1, 1)
    actors.Long.end.set()
    first = min(await until(lambda: ticks(key)))
    assert min(skipped) == first + 2, "the first that was due waited, and no other"

    async def waited() -> Done | None:
        return ((await ticks(key)) | (await ticks(key, skipped=True))).get(first + 1)

    # It comes back for the lock by itself: a fresh tick may be faster, and then stands for it.
    done = await until(waited)
    assert done.waits
    assert done.failure is None or "stands for it" in done.failure.message
    assert all("an earlier tick waited" in done.failure.message for done in skipped.values())
    assert {str(done.state) for done in skipped.values()} == {"CANCELLED"}


async def test_skip_lets_none_wait(armed, natsume_worker, ticks):
    key = await armed(actors.LongSkip)
    await until(lambda: ticks(key, skipped=True), lambda found: len(found) >= 2)
    actors.LongSkip.end.set()
    ran = await until(lambda: ticks(key))
    assert set(await ticks(key, skipped=True)) >= {min(ran) + 1, min(ran) + 2}
    assert actors.LongSkip.most == 1


async def test_all_lets_them_run_together(armed, natsume_worker, ticks):
    key = await armed(actors.LongAll)
    await until(lambda: actors.LongAll.running >= 2)
    actors.LongAll.end.set()
    await until(lambda: ticks(key), lambda found: len(found) >= 2)
    assert not await ticks(key, skipped=True)


async def test_one_run_stands_for_all_that_nobody_took(armed, natsume_start_worker, natsume_broker, ticks):
    key = await armed(actors.Beat)
    subject = ready(Registry.of_classes({"t:Beat": actors.Beat}).find("t:Beat").lane, "t:Beat")

    async def waiting():
        info = await natsume_broker.stream_info("TASKS", subjects_filter=subject)
        return (info["state"].get("subjects") or {}).get(subject, 0)

    await until(waiting, lambda count: count >= 3)
    await natsume_start_worker()
    await natsume_start_worker()
    await until(lambda: ticks(key), lambda found: len(found) >= 2)
    ran, skipped = await ticks(key), await ticks(key, skipped=True)
    started = min(done.started_at for done in ran.values())
    assert sum(due <= started for due in ran) == 1
    assert sum(due <= started for due in skipped) == 2
    assert all("stands for it" in done.failure.message for done in skipped.values())
