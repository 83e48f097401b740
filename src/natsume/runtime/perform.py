"""Drives one delivery through the table: carries out its effects in order, reports what came of them."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from natsume.actors.registry import Registry
from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import gcra
from natsume.core.attempt import step
from natsume.core.phases import Running
from natsume.exceptions import BrokerError
from natsume.model import limits
from natsume.model.told import Flag
from natsume.runtime.execute import Count
from natsume.runtime.flagging import Flagging
from natsume.runtime.intake import Intake
from natsume.runtime.limiting import Limiting
from natsume.runtime.lookups import Lookups
from natsume.runtime.opening import Opening
from natsume.runtime.reaching import Execution, Reaching
from natsume.runtime.run import Run
from natsume.runtime.taking import Taking
from natsume.runtime.ticking import Ticking
from natsume.runtime.watch import Watch
from natsume.runtime.worker_ports import Ports
from natsume.settings import Settings

_log = logging.getLogger(__name__)

_UNCERTAIN: Final = ev.Uncertain()
_WRITTEN: Final = ev.Written()
_LOCKED: Final = ev.Locked()
_PAUSE_FIRST_S: Final = 0.05
_PAUSE_LAST_S: Final = 2.0
_ABANDON_S: Final = 1.0
_LAST_STEPS: Final = (do.Acknowledge, do.GiveBack, do.ReleaseLocks, do.Unmark)

Carry = Callable[[Run, Any], Awaitable[ev.Event | None] | None]
"""Carries out an effect: at once, or as what is to be awaited, and then gives the event that it reports, if any."""


class Performer:
    """Takes deliveries from their slot to their acknowledgement."""

    def __init__(
        self,
        ports: Ports,
        registry: Registry,
        settings: Settings,
        intake: Intake,
        watch: Watch,
        flagging: Flagging,
        execution: Execution,
        count: Count,
    ) -> None:
        """`count` is told what came of each try of an actor."""
        self._ports = ports
        self._registry = registry
        self.opened = Opening(
            registry,
            settings,
            ports.now,
            ports.boots,
            ports.overrides,
            watch.is_stale,
            flagging.of,
            ports.rule,
            ports.struck,
        ).opened
        self._intake = intake
        self._lookups = Lookups(ports.records)
        self._execution = execution
        self._count = count
        self.reach = Reaching(ports, registry, watch).reach
        self._locks = Taking(ports, watch)
        self._limiting = Limiting(ports.limiters, ports.now, lambda: intake.set_aside < limits.HELD_MAX)
        self.ticking = Ticking(ports.ticks, ports.now)
        self._notes: set[asyncio.Task[None]] = set()
        self._carry: dict[type, Carry] = {
            do.TakeLocks: self._locks.take,
            do.LookUp: self._look_up,
            do.Ask: self._ask,
            do.Isolate: self._isolate,
            do.Mark: self._mark,
            do.Unmark: self._unmark,
            do.Reserve: self._reserve,
            do.SetAside: self._set_aside,
            do.Execute: self._execute,
            do.Commit: self._commit,
            do.RecordFailure: self._record_failure,
            do.Arm: self._arm,
            do.Park: self._park,
            do.Forward: self._forward,
            do.ReleaseLocks: self._release,
            do.Acknowledge: self._acknowledge,
            do.GiveBack: self._give_back,
        }

    async def perform(self, run: Run) -> None:
        """Drive a delivery to its end."""
        (opened,) = self.opened(run)
        if run.delivery.task.schedule is None or await self.ticking.follow(run):
            await self._follow(run, opened)

    def _follow(self, run: Run, event: ev.Event) -> Awaitable[do.Effect | None]:
        """Step from event to event until none is left."""
        run.phase, effects = step(run.phase, run.delivery, run.rules, event)
        return self.carry_out(run, effects)

    async def carry_out(
        self, run: Run, effects: Sequence[do.Effect], before: Collection[type] = ()
    ) -> do.Effect | None:
        """Carry out effects and what the table orders after them, to the end or `before` an effect of these kinds.

        An effect without an answer is reported as Uncertain after a growing pause, and the table decides
        again; a last step that fails leaves the delivery to the broker, which brings it back.
        """
        pause_s = _PAUSE_FIRST_S
        while True:
            event: ev.Event | None = None
            try:
                for effect in effects:
                    carried = self._carry[type(effect)](run, effect)
                    event = await carried if carried is not None else None
            except BrokerError as error:
                what = type(effect).__name__
                if isinstance(effect, _LAST_STEPS):
                    _log.warning("%s failed, the broker brings task %s back: %s", what, run.delivery.task.id, error)
                    return None
                _log.warning("%s of task %s has no answer yet: %s", what, run.delivery.task.id, error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_LAST_S)
                run.check_leases(time.monotonic())
                event = _UNCERTAIN
            if event is None:
                return None
            run.phase, effects = step(run.phase, run.delivery, run.rules, event)
            if before and effects and type(effects[0]) in before:
                return effects[0]

    def note(self, run: Run) -> None:
        """Record that a run has started, for those who ask; nothing waits for it."""
        note = asyncio.get_running_loop().create_task(run.note(self._ports.records, self._ports.now()))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def abandon(self, run: Run) -> None:
        """Let go of a delivery at a shutdown, wherever it stands: any prefix of its effects is safe."""
        try:
            async with asyncio.timeout(_ABANDON_S):
                if isinstance(run.phase, Running):
                    await self._follow(run, ev.Interrupted(run.started_at, self._ports.now()))
                else:
                    await self._locks.release(run, do.ReleaseLocks())
                    self._give_back(run, do.GiveBack())
        except (BrokerError, TimeoutError) as error:
            _log.info("task %s is left to the broker: %s", run.delivery.task.id, error)

    async def _look_up(self, run: Run, _: do.LookUp) -> ev.Event:
        task = run.delivery.task
        await self._ports.boots.settled()
        history = await self._lookups.look_up(task.id, task.attempt)
        if history.started is not None:
            run.grants = gcra.unused(run.grants, history.started.at)
        ran = await self.ticking.ran(task) if task.schedule is not None else None
        return ev.LookedUp(self._ports.now(), history, ran)

    async def _ask(self, _run: Run, effect: do.Ask) -> ev.Event:
        goes_on = await self._ports.presence.goes_on(effect.nonce)
        return ev.Answered(self._ports.now(), goes_on, self._ports.boots.boot.settled_at)

    async def _isolate(self, run: Run, _: do.Isolate) -> ev.Event:
        await self._intake.isolate(run.delivery)
        return ev.Isolated()

    async def _mark(self, run: Run, effect: do.Mark) -> ev.Event:
        sequence = await self._ports.records.start(effect.record, effect.expected)
        run.noted = sequence is not None
        return ev.Marked(sequence) if sequence else ev.MarkRefused()

    async def _unmark(self, _run: Run, effect: do.Unmark) -> None:
        await self._ports.records.start(effect.record, effect.expected)

    async def _reserve(self, run: Run, _: do.Reserve) -> ev.Event:
        return await self._limiting.reserve(run)

    def _set_aside(self, run: Run, effect: do.SetAside) -> None:
        run.delivery.grants = effect.grants

    async def _execute(self, run: Run, _: do.Execute) -> ev.Event:
        if run.delivery.task.schedule is not None:
            await self.ticking.starts(run.delivery.task)
        hindrance = self.hindrance(run)
        if hindrance is not None:
            return hindrance
        event = await self._execution(run, self.reach)
        assert run.actor is not None
        self._count(run.actor, event)
        run.check_leases(time.monotonic())
        return event

    def hindrance(self, run: Run) -> ev.Event | None:
        """What keeps a task from starting after all, at the last moment; None where nothing does."""
        run.check_leases(time.monotonic())
        if run.lost:
            run.lease_gone()
            return ev.Interrupted(self._ports.now(), self._ports.now())
        if run.flag is not None:
            return self._flagged(run, run.flag)
        if self._limiting.void(run):
            return ev.GrantVoid()
        if run.delivery.task.tracked and not run.noted:
            self.note(run)
        return None

    async def _commit(self, run: Run, effect: do.Commit) -> ev.Event:
        if not await self._ports.records.commit(effect.record):
            _log.info("task %s was committed by another run; this outcome is dropped", run.delivery.task.id)
        return _WRITTEN

    async def _record_failure(self, _run: Run, effect: do.RecordFailure) -> ev.Event:
        standing = await self._ports.records.fail(effect.record)
        return _WRITTEN if standing is effect.record else ev.Overtaken(standing)

    async def _arm(self, run: Run, effect: do.Arm) -> ev.Event:
        await self._ports.outgoing.arm(effect.task, effect.at)
        return self._flagged(run, run.flag) if run.flag is not None else _WRITTEN

    async def _park(self, run: Run, effect: do.Park) -> ev.Event:
        await self._ports.leases.park(effect.task, effect.blocked, effect.until)
        return self._flagged(run, run.flag) if run.flag is not None else _WRITTEN

    def _flagged(self, run: Run, flag: Flag) -> ev.Flagged:
        return ev.Flagged(self._ports.now(), run.nonce, flag)

    async def _forward(self, _run: Run, effect: do.Forward) -> ev.Event:
        await self._ports.outgoing.submit(effect.task, resent=True)
        return _WRITTEN

    def _release(self, run: Run, effect: do.ReleaseLocks) -> Awaitable[None] | None:
        return self._locks.release(run, effect) if run.leases else None

    def _acknowledge(self, run: Run, _: do.Acknowledge) -> None:
        self._ports.deliveries.acknowledge(run.delivery)

    def _give_back(self, run: Run, _: do.GiveBack) -> None:
        self._ports.deliveries.give_back(run.delivery)
