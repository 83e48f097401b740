"""The demo's second act: two VOs fill their compute elements by the clock, and their pilots finish."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from natsume.actors.registry import Registry
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.model.config import Applied, ScheduleConfig, TaskConfig, TasksConfig
from natsume.testing import until
from natsume_examples.demo.log import Log
from natsume_examples.demo.stage import Stage
from natsume_examples.pilots.db import PilotsDB
from natsume_examples.pilots.logic import ACTIVE, Element, Status, summary
from natsume_examples.pilots.tasks import MyCheckPilotsTask, MyPilotTask, MySubmitPilotsTask

_CLASSES: Final = (MyPilotTask, MySubmitPilotsTask, MyCheckPilotsTask)
_VOS: Final = {"lhcb": 3, "dteam": 2}  # and the slots of each
_END_S: Final = 10.0


async def tick(stage: Stage, log: Log) -> int:
    """Let the clock run until each VO has finished as many pilots as it has slots; 0 if none had more."""
    async with PilotsDB.transaction() as db:
        await db.add(Element(vo, f"grid-{vo}", slots) for vo, slots in _VOS.items())
    async with _ticking(stage):
        log.line("ticking", f"pilots are submitted and checked every second, for {' and '.join(_VOS)}")
        most = await asyncio.gather(*(_most_until_finished(vo, slots, log) for vo, slots in _VOS.items()))
    too_many = [vo for vo, seen in zip(_VOS, most, strict=True) if seen > _VOS[vo]]
    for vo in too_many:
        log.line("mismatch", f"{vo} had more pilots than its {_VOS[vo]} slots")
    if not too_many:
        log.plain("Each VO has finished as many pilots as it has slots, and never had more at a time.")
    return 1 if too_many else 0


@asynccontextmanager
async def _ticking(stage: Stage) -> AsyncIterator[None]:
    """A conductor and a worker here, and the schedules shortened as a tasks file would."""
    registry = Registry.of_classes({f"pilots:{cls.__name__}": cls for cls in _CLASSES})
    often = TaskConfig(schedules={"default": ScheduleConfig(every=1)})
    config = TasksConfig(tuple(_VOS), common={f"pilots:{cls.__name__}": often for cls in _CLASSES[1:]})
    _, revision = await stage.broker.config.read()
    await stage.broker.config.put(Applied(config, "demo", stage.broker.now(), "demo"), revision)
    logging.getLogger("natsume").addHandler(logging.NullHandler())  # the demo's own log tells what fails
    settings = msgspec.structs.replace(stage.settings, worker="C")
    async with conducting(settings, registry), working(settings, registry):
        yield


async def _most_until_finished(vo: str, slots: int, log: Log) -> int:
    """Tell each change of a VO's pilots until enough are done; the most that were seen active at once."""
    told, most = summary(()), 0

    async def look() -> dict[str, int]:
        nonlocal told, most
        async with PilotsDB.transaction() as db:
            found = summary((await db.statuses(vo)).values())
        most = max(most, sum(found[status] for status in ACTIVE))
        if found != told:
            told = found
            log.line("pilots", f"{vo}: {', '.join(f'{count} {status}' for status, count in found.items())}")
        return found

    await until(look, lambda found: found[Status.DONE] >= slots, within_s=_END_S)
    return most
