"""What a worker does for ticks: arms the next one where the server cannot, keeps when the last one started."""

import logging
from collections.abc import Callable

from natsume.core import tick
from natsume.exceptions import BrokerError
from natsume.model.task import Task
from natsume.model.tick import Ran
from natsume.ports import Ticks
from natsume.runtime.run import Run

_log = logging.getLogger(__name__)


class Ticking:
    """The worker's part in schedules."""

    def __init__(self, ticks: Ticks, now: Callable[[], float]) -> None:
        self._ticks = ticks
        self._now = now

    async def follow(self, run: Run) -> bool:
        """Arm the occurrence after this one, before anything becomes of it; False if that is not known to stand.

        Then the delivery is left to the broker, which brings it back.
        """
        delivery = run.delivery
        if not delivery.fired or delivery.task.hop:
            return True
        entry = tick.successor(delivery.task, delivery.headers, delivery.subject, run.rules.ticks, self._now())
        try:
            if entry is not None:
                await self._ticks.put(entry, 0)
        except BrokerError as error:
            _log.warning("the tick after %s is not armed, the broker brings it back: %s", delivery.task.id, error)
            return False
        return True

    async def ran(self, task: Task) -> tuple[str, float] | None:
        """Which tick of a task's schedule started last, and when."""
        schedule = tick.schedule_of(task)
        if schedule is None:
            return None
        latest = (await self._ticks.ran([schedule])).get(schedule)
        return (latest.tick, latest.at) if latest else None

    async def starts(self, task: Task) -> None:
        """Keep that a tick starts now; a broker that does not answer costs no more than this fact."""
        schedule = tick.schedule_of(task)
        if schedule is None:
            return
        try:
            await self._ticks.started(schedule, Ran(task.id, self._now()))
        except BrokerError as error:
            _log.info("the start of tick %s is not kept: %s", task.id, error)
