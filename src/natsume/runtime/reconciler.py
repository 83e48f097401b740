"""The reconciler: brings the schedules in the broker to what they should be, and makes up missed ticks.

Any number may run: each change says which schedule it replaces, and a tick that several make up is one task.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from natsume.config.agenda import Agenda
from natsume.core.reconcile import Action, Put, Remove, Wanted, missed, plan
from natsume.exceptions import BrokerError
from natsume.model import limits, times
from natsume.model.config import Applied, TasksConfig, Unreadable
from natsume.model.subject import parse_ready
from natsume.model.task import Task
from natsume.model.tick import Mark, Present, ScheduleKey
from natsume.ports import Outgoing, Records, Schedules

_log = logging.getLogger(__name__)

_FIRING_S: Final = 2.0
_PAUSE_S: Final = 1.0
_MADE_UP_MAX: Final = 100_000


class Reconciler:
    """Compares and acts, now and then and whenever it is told that something changed."""

    def __init__(
        self,
        schedules: Schedules,
        outgoing: Outgoing,
        records: Records,
        agenda: Callable[[TasksConfig], Agenda],
        now: Callable[[], float],
        generation: float,
    ) -> None:
        """`agenda` makes of a configuration what should be there; `generation` is when this process started."""
        self._schedules = schedules
        self._outgoing = outgoing
        self._records = records
        self._agenda_of = agenda
        self._agenda = agenda(TasksConfig())
        self._now = now
        self._generation = generation
        self._configured = 0.0
        self._changed = asyncio.Event()
        self._blind = False
        self._doubts = 2
        self._made_up: set[str] = set()

    @property
    def agenda(self) -> Agenda:
        """What should be there, as far as this process knows."""
        return self._agenda

    def configure(self, applied: Applied | Unreadable | None) -> None:
        """Let this configuration hold; while nobody here can read it, the schedules are left as they are."""
        self._blind = isinstance(applied, Unreadable)
        if isinstance(applied, Unreadable):
            _log.error("the schedules are left as they are: %s", applied)
            return
        self._configured = applied.at if applied is not None else 0.0
        self._agenda = self._agenda_of(applied.config if applied is not None else TasksConfig())
        for problem in self._agenda.problems:
            _log.warning("%s", problem)
        self._changed.set()

    def doubt(self) -> None:
        """Look for missed ticks: the broker was away. Twice, for it may fire some of them itself meanwhile."""
        self._doubts = 2
        self._changed.set()

    async def run(self) -> None:
        """Reconcile for ever."""
        while True:
            self._changed.clear()
            try:
                await self.once()
                pause_s = _FIRING_S + _PAUSE_S if self._doubts else times.RECONCILE_S
            except BrokerError as error:
                _log.warning("the schedules could not be reconciled, it is tried again: %s", error)
                pause_s = _PAUSE_S
            try:
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def once(self, only: Callable[[ScheduleKey], bool] = lambda _key: True) -> list[Action]:
        """Make up what was missed and do what is to be done, for some schedules or all; what was done."""
        if self._blind:
            return []
        present = [one for one in await self._schedules.present() if one.entry is None or only(one.entry.key)]
        wanted = {key: one for key, one in self._agenda.wanted.items() if only(key)}
        ours = {one.entry.key for one in present if one.entry is not None}
        marks = await self._schedules.marks([key.id for key in wanted.keys() | ours])
        if self._doubts:
            await self._make_up(wanted, present, marks)
            self._doubts -= 1
        now = datetime.fromtimestamp(self._now(), UTC)
        actions = plan(wanted, self._agenda.known, present, marks, self._generation, now, self._configured)
        return [action for action in actions if await self._carry_out(action)]

    async def _carry_out(self, action: Action) -> bool:
        """Whether it is done; what the broker refuses keeps nothing else from being done."""
        try:
            return await self._act(action)
        except BrokerError as error:
            if not error.code:
                raise
            name = action.entry.key.name if isinstance(action, Put) else action.present.subject
            _log.error("the broker refuses the schedule %s: %s", name, error)
            return False

    async def _act(self, action: Action) -> bool:
        match action:
            case Put(entry, expected):
                done = await self._schedules.put(entry, expected)
                if done:
                    _log.info("armed %s: %s", entry.key.name, entry.text)
            case Remove(present, mark):
                assert present.entry is not None
                if mark is not None:
                    await self._schedules.mark(present.entry.key.id, mark)
                done = await self._schedules.remove(present)
                if done:
                    _log.info("removed %s", present.entry.key.name)
        return done

    async def _make_up(self, wanted: dict[ScheduleKey, Wanted], present: list[Present], marks: dict[str, Mark]) -> None:
        paused = {schedule for schedule, mark in marks.items() if mark.paused_by is not None}
        ours = [(one.entry.key, one) for one in present if one.entry is not None]
        lying = {key: one for key, one in ours if key in wanted and key.id not in paused}
        ran = await self._schedules.ran([key.id for key in lying])
        until = self._now() - _FIRING_S
        due = [
            tick_task(wanted[key], time)
            for key, one in lying.items()
            for time in missed(wanted[key], one.at, ran.get(key.id), until)
        ]
        await self.make_up([task for task in due if task.id not in self._made_up])

    async def make_up(self, tasks: list[Task]) -> int:
        """Submit those ticks that no record knows; how many there were."""
        count = 0
        for at in range(0, len(tasks), limits.LOOK_UP_MAX):
            page = tasks[at : at + limits.LOOK_UP_MAX]
            found = await self._records.look_up([(task.id, task.attempt) for task in page])
            unknown = [
                task
                for task, history in zip(page, found, strict=True)
                if history.done is None and history.failed is None and history.started is None
            ]
            await self._outgoing.submit_many(unknown, resent=True)
            for task in unknown:
                _log.info("made up the tick %s", task.id)
            count += len(unknown)
            if len(self._made_up) < _MADE_UP_MAX:
                self._made_up.update(task.id for task in unknown)
        return count


def tick_task(wanted: Wanted, due: datetime) -> Task:
    """The task that a schedule's tick at this time is, as a firing would have made it."""
    entry = wanted.entry
    lane, actor = parse_ready(entry.target)
    assert actor is not None
    return Task(
        entry.key.tick(due),
        actor,
        lane,
        entry.body,
        submitted_at=due.timestamp(),
        tenant=entry.key.vo,
        schedule=entry.text,
    )
