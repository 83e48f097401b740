"""Drives the members of one batch, each through the table, and joins what they do together."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final

from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import splitting
from natsume.core.attempt import step
from natsume.core.phases import Isolating
from natsume.exceptions import BrokerError
from natsume.runtime.batch_call import BatchCall
from natsume.runtime.batch_locks import BatchLocks
from natsume.runtime.execute import Count, Ended
from natsume.runtime.intake import Intake
from natsume.runtime.pace import Pace
from natsume.runtime.perform import Performer
from natsume.runtime.run import Run
from natsume.runtime.watch import Watch
from natsume.runtime.worker_ports import Ports

_log = logging.getLogger(__name__)


_TOGETHER: Final = frozenset({do.TakeLocks, do.Isolate, do.Mark, do.Execute})
_WRITTEN: Final = ev.Written()
_UNCERTAIN: Final = ev.Uncertain()


Effects = Sequence[do.Effect]
Due = list[tuple[Run, do.Effect]]
"""Members that are to do something together, and what."""


class Batch:
    """Members of one actor and key in one slot; each leaves as soon as it has its end."""

    def __init__(
        self,
        performer: Performer,
        ports: Ports,
        intake: Intake,
        watch: Watch,
        count: Count,
        pace: Pace,
        runs: Sequence[Run],
    ) -> None:
        """`count` is told what came of all tries; `pace` is that of all batches of the worker."""
        self._pace = pace
        self._count = count
        self._performer = performer
        self._ports = ports
        self._intake = intake
        self._watch = watch
        self._runs = runs
        self._nonce = runs[0].nonce
        self._locks = BatchLocks(ports, watch)
        self._apart: list[Run] = []
        self._isolated = False
        self._marked = 0

    async def perform(self) -> None:
        """Drive all members to their ends."""
        try:
            await self._run_all(await self._ready(await self._open()))
            while self._apart:
                group = self._next_apart()
                if not self._isolated:
                    self._isolated = True
                    await self._intake.isolate(self)
                due = await self._resume([(run, _step(run, ev.Isolated())) for run in group])
                await self._run_all(await self._ready(due))
        finally:
            await self._locks.release()

    async def _open(self) -> Due:
        opened = []
        async with self._pace as steps:
            async for some in steps(self._runs):
                for run, event in zip(some, self._performer.opened(*some), strict=True):
                    if run.delivery.task.schedule is None or await self._performer.ticking.follow(run):
                        opened.append((run, _step(run, event)))
                    else:
                        self._leave(run)
        return await self._resume(opened)

    async def _resume(self, items: Iterable[tuple[Run, Effects]]) -> Due:
        """Let each go on by itself until it is to do something together with others, or has left."""
        due: Due = []
        others: list[tuple[Run, Effects]] = []
        for run, effects in items:
            if type(effects[0]) in _TOGETHER:
                due.append((run, effects[0]))
            else:
                others.append((run, effects))
        return due + await self._carry(others) if others else due

    async def _carry(self, items: Iterable[tuple[Run, Effects]]) -> Due:
        runs: list[Run] = []
        carried: list[Coroutine[Any, Any, do.Effect | None]] = []
        for run, effects in items:
            runs.append(run)
            carried.append(self._carry_one(run, effects))
        found = await asyncio.gather(*carried)
        return [(run, effect) for run, effect in zip(runs, found, strict=True) if effect is not None]

    async def _carry_one(self, run: Run, effects: Effects) -> do.Effect | None:
        effect: do.Effect | None = None
        try:
            effect = await self._performer.carry_out(run, effects, _TOGETHER)
        except Exception:  # noqa: BLE001 - one member must not end the others
            _log.exception("task %s could not be dealt with; the broker brings it back", run.delivery.task.id)
        if effect is None:
            self._leave(run)
        return effect

    async def _ready(self, due: Due) -> list[Run]:
        """Those that are about to start, once locks are taken and starts are marked; who must be alone stands apart."""
        while True:
            kinds = {type(effect) for _, effect in due}
            if do.Isolate in kinds:
                self._apart += [run for run, effect in due if type(effect) is do.Isolate]
                due = [(run, effect) for run, effect in due if type(effect) is not do.Isolate]
            if do.TakeLocks in kinds:
                rest = [(run, effect) for run, effect in due if type(effect) is not do.TakeLocks]
                locking = [run for run, effect in due if type(effect) is do.TakeLocks]
                events = await self._locks.take(locking)
                due = rest + await self._resume([(run, _step(run, event)) for run, event in events])
            elif do.Mark in kinds:
                due = await self._mark(due)
            else:
                return [run for run, _ in due]

    async def _mark(self, due: Due) -> Due:
        """Write the starts of those that may have started before, each with the half that it would run with next."""
        marking = [(run, effect) for run, effect in due if isinstance(effect, do.Mark)]
        rest = [(run, effect) for run, effect in due if not isinstance(effect, do.Mark)]
        self._marked += 1
        for place, (run, _) in enumerate(marking):
            alone = len(due) == 1
            run.half = "" if alone else splitting.half_of(f"{self._nonce}.{self._marked}", place, len(marking))
        marks = [(run, (splitting.marked(mark, run.half) if run.half else mark,)) for run, mark in marking]
        return rest + await self._carry(marks)

    def _next_apart(self) -> list[Run]:
        """Those of one half of a batch that crashed, or one that has crashed alone."""
        first = self._apart[0]
        half = first.phase.half if isinstance(first.phase, Isolating) else ""
        group = [run for run in self._apart if half and isinstance(run.phase, Isolating) and run.phase.half == half]
        group = group or [first]
        self._apart = [run for run in self._apart if run not in group]
        return group

    async def _run_all(self, runs: Sequence[Run]) -> None:
        """Call for all of them; what fails as a whole is called again for each half."""
        parts = [runs]
        while parts:
            part = await self._startable(parts.pop())
            if not part:
                continue
            for run in part:
                run.half = run.half if len(part) > 1 else ""
            call = BatchCall(part, self._performer.reach, self._ports.now)
            events = await call.ended(self._locks.leases)
            if events is None:
                parts += reversed(splitting.halves(part))
            else:
                await self._end(part, events)

    async def _startable(self, runs: Sequence[Run]) -> list[Run]:
        found, hindered = [], []
        for run in runs:
            if run.delivery.task.schedule is not None:
                await self._performer.ticking.starts(run.delivery.task)
            hindrance = self._performer.hindrance(run)
            if hindrance is None:
                found.append(run)
            else:
                hindered.append((run, _step(run, hindrance)))
        if hindered:
            found += await self._startable(await self._ready(await self._resume(hindered)))
        return found

    async def _end(self, runs: Sequence[Run], events: Sequence[Ended]) -> None:
        """Carry out what follows for each; the commits of all go together."""
        now = time.monotonic()
        actor = runs[0].actor
        assert actor is not None
        self._count(actor, *events)
        commits: list[tuple[Run, do.Commit]] = []
        others: list[tuple[Run, Effects]] = []
        async with self._pace as steps:
            async for some in steps(list(zip(runs, events, strict=True))):
                for run, event in some:
                    run.check_leases(now)
                    effects = _step(run, event)
                    if type(effects[0]) is do.Commit:
                        commits.append((run, effects[0]))
                    else:
                        others.append((run, effects))
        again = await self._commit(commits)
        await self._carry(others + again)

    async def _commit(self, commits: Sequence[tuple[Run, do.Commit]]) -> list[tuple[Run, Effects]]:
        """Write the done records, let go of those that stand; the rest, for which to decide again."""
        outcomes = await self._ports.commits.commit_all([commit.record for _, commit in commits])
        again: list[tuple[Run, Effects]] = []
        async with self._pace as steps:
            async for some in steps([(run, outcome) for (run, _), outcome in zip(commits, outcomes, strict=True)]):
                over: list[Run] = []
                for run, outcome in some:
                    effects = _stands(run, outcome)
                    if isinstance(outcome, BrokerError) or run.leases:
                        again.append((run, effects))
                    else:
                        over.append(run)
                self._close(over)
        return again

    def _close(self, runs: Sequence[Run]) -> None:
        """Let go of those that hold nothing and whose records stand."""
        try:
            self._ports.deliveries.acknowledge(*[run.delivery for run in runs])
        except BrokerError as error:
            _log.warning("Acknowledge failed, the broker brings %d tasks back: %s", len(runs), error)
        for run in runs:
            self._leave(run)

    def _leave(self, run: Run) -> None:
        del self._watch.runs[run.nonce]
        self._intake.let_go(run.delivery)


def _stands(run: Run, outcome: bool | BrokerError) -> Effects:
    """What follows once it is known whose done record stands; or again the commit, if it is not."""
    if isinstance(outcome, BrokerError):
        _log.warning("Commit of task %s has no answer yet: %s", run.delivery.task.id, outcome)
        return _step(run, _UNCERTAIN)
    if not outcome:
        _log.info("task %s was committed by another run; this outcome is dropped", run.delivery.task.id)
    return _step(run, _WRITTEN)


def _step(run: Run, event: ev.Event) -> Effects:
    run.phase, effects = step(run.phase, run.delivery, run.rules, event)
    return effects
