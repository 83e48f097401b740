"""The actors of the pilots."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from natsume import (
    BaseLock,
    BaseTask,
    CronSchedule,
    Depends,
    IntervalSeconds,
    MutexLock,
    NoRetry,
    NoTransaction,
    PeriodicBaseTask,
    PeriodicVoAwareBaseTask,
    Priority,
    Size,
    TaskInfo,
)
from natsume_examples.locked import COMPUTE_ELEMENT
from natsume_examples.pilots import logic
from natsume_examples.pilots.db import PilotsDB
from natsume_examples.pilots.logic import Element, Status
from natsume_examples.vo import DEFAULT_VO

_FORGOTTEN = timedelta(hours=1)  # a slot that was reserved so long ago has no task any more
_LOCK_TTL_MS = 3_000  # how long an element stays locked when the worker dies that holds it


class NoFreeSlot(Exception):
    """The compute element takes no more pilots."""


class PilotRefused(Exception):
    """The compute element did not take the pilot."""


def chance() -> Callable[[], float]:
    """Where the elements' luck comes from; replaced in tests."""
    return random.random


@dataclass
class MyPilotTask(BaseTask):
    """Submits one pilot to one compute element."""

    priority = Priority.NORMAL
    size = Size.SMALL
    retry_policy = NoRetry()

    ce_name: str
    vo: str = DEFAULT_VO

    @property
    def execution_locks(self) -> list[BaseLock]:
        return [MutexLock(COMPUTE_ELEMENT, self.ce_name, ttl_ms=_LOCK_TTL_MS)]

    async def execute(
        self,
        db: Annotated[PilotsDB, NoTransaction()],
        chance: Annotated[Callable[[], float], Depends(chance)],
        info: TaskInfo,
    ) -> str:
        """Return the pilot's id: the task's own, so that a second run of the task is no second pilot.

        The slot is reserved, and that committed, before the element is asked: what is lost in a crash
        in between is found again, and no crash lets more pilots out than there are slots.
        """
        async with db:
            element = await self._reserved(db, info.id)
        if element is None:
            return info.id
        taken = logic.accepts(element, chance())
        async with db:
            await db.transition(info.id, Status.SUBMITTED if taken else Status.FAILED, datetime.now(UTC))
        if not taken:
            raise PilotRefused(f"{self.ce_name} did not take the pilot")
        return info.id

    async def _reserved(self, db: PilotsDB, pilot_id: str) -> Element | None:
        """The element, with a slot of it reserved for this pilot; None if the element took the pilot before."""
        element = await db.element(self.vo, self.ce_name)
        if element is None:
            raise NoFreeSlot(f"{self.vo} has no compute element {self.ce_name}")
        status = await db.status(pilot_id)
        if status is Status.FAILED:
            raise PilotRefused(f"{self.ce_name} did not take the pilot, at an earlier run")
        if status in {Status.SUBMITTED, Status.RUNNING, Status.DONE}:
            return None
        if status is None and not (element.enabled and await db.reserve(pilot_id, element, datetime.now(UTC))):
            raise NoFreeSlot(f"{self.ce_name} has no free slot for {self.vo}")
        return element


@dataclass
class MySubmitPilotsTask(PeriodicVoAwareBaseTask):
    """Fills the compute elements of a VO, each minute: one pilot task for each free slot."""

    default_schedule = IntervalSeconds(60)

    async def execute(self, db: PilotsDB) -> dict[str, int]:
        """Return how many pilot tasks were scheduled for which element.

        They follow from this task's commit. Each reserves its slot itself: where two ticks saw the same
        free slot, one of the two pilots gets it.
        """
        free = logic.available(await db.elements(self.vo), await db.active(self.vo))
        for name, slots in free.items():
            for _ in range(slots):
                await MyPilotTask(name, self.vo).schedule()
        return free


@dataclass
class MyCheckPilotsTask(PeriodicVoAwareBaseTask):
    """Moves each active pilot of a VO on by one step, every half minute."""

    default_schedule = IntervalSeconds(30)

    async def execute(
        self, db: PilotsDB, chance: Annotated[Callable[[], float], Depends(chance)], info: TaskInfo
    ) -> dict[str, int]:
        """Return how many pilots were moved where; a second run of this task moves none a second time."""
        elements = {element.name: element for element in await db.elements(self.vo)}
        moved: Counter[str] = Counter()
        for pilot_id, name, status in await db.to_check(self.vo, info.id, datetime.now(UTC) - _FORGOTTEN):
            following = logic.following(elements.get(name), status, chance())
            if await db.transition(pilot_id, following, datetime.now(UTC), info.id):
                moved[following.value] += 1
        return dict(moved)


@dataclass
class MyPilotReportTask(PeriodicBaseTask):
    """Counts the pilots of all VOs, each full hour."""

    default_schedule = CronSchedule("0 * * * *")

    async def execute(self, db: PilotsDB) -> dict[str, dict[str, int]]:
        """Return the summary of each VO."""
        return {vo: logic.summary(statuses) for vo, statuses in (await db.all_statuses()).items()}
