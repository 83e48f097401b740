"""Runs tasks in slots: a warm one is used again for a while, or each task gets a fresh one."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from natsume.actors.registry import Registry
from natsume.ending import end
from natsume.enums import Size
from natsume.runtime.execute import Ended
from natsume.runtime.reaching import Reach
from natsume.runtime.run import Run
from natsume.settings import Settings
from natsume.slots.nursery import Nursery, spec_of
from natsume.slots.resources import MB
from natsume.slots.slot import Slot
from natsume.slots.watching import watch

_log = logging.getLogger(__name__)

_PAUSE_S: Final = 0.1
_CLOSE_S: Final = 2.0
_WARM_MAX: Final = 32


class Pool:
    """An Execution in processes of their own."""

    def __init__(self, nursery: Nursery, settings: Settings, *, fresh: bool) -> None:
        self._nursery = nursery
        self._settings = settings
        self._fresh = fresh
        self._idle: list[Slot] = []

    async def __call__(self, run: Run, reach: Reach) -> Ended:
        """Run it in a slot; one that was gone before the task began is replaced."""
        while True:
            slot = self._warm() or await self._nursery.slot()
            try:
                ended = await slot.run(run, reach)
            finally:
                self._take_back(slot)
            if ended is not None:
                return ended
            await asyncio.sleep(_PAUSE_S)

    async def warm(self, count: int) -> None:
        """Have so many slots wait for tasks."""
        self._idle += [await self._nursery.slot() for _ in range(count)]

    async def close(self) -> None:
        """Let all slots end."""
        for slot in self._idle:
            slot.close()
        waiting = [slot.gone.wait() for slot in self._idle]
        self._idle = []
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.gather(*waiting)

    def _warm(self) -> Slot | None:
        while self._idle:
            slot = self._idle.pop()
            if not slot.gone.is_set():
                return slot
        return None

    def _take_back(self, slot: Slot) -> None:
        settings = self._settings
        worn = slot.tasks >= settings.slot_tasks or slot.resident > settings.slot_memory_mb * MB
        if slot.gone.is_set():
            return
        if self._fresh or slot.spoiled or worn:
            slot.close()
        else:
            self._idle.append(slot)


@asynccontextmanager
async def slots(settings: Settings, registry: Registry, size: Size, concurrency: int) -> AsyncIterator[Pool]:
    """What runs the tasks of a medium or large worker, ready; all its processes end with the block."""
    nursery = Nursery(spec_of(registry, settings.prefixes))
    pool = Pool(nursery, settings, fresh=size is Size.LARGE)
    watching = asyncio.create_task(watch(nursery.slots, nursery.shortages))
    try:
        await nursery.open()
        if size is Size.MEDIUM:
            await pool.warm(min(concurrency, _WARM_MAX))
        yield pool
    finally:
        await end(watching)
        await pool.close()
        await nursery.close()
