"""What each effect does at the broker when it arrives there, and what it reports."""

from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from natsume.adapters.nats.line import rank
from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import gcra
from natsume.model import subject
from natsume.model.lock import Blocked, Holding, Want
from natsume.model.record import Failure

from .laws import Laws
from .lock_laws import is_alone
from .locking import WANTS, Locks
from .runs import Killed, Run
from .scenario import SHARE
from .world import STRIKE, STRIKE_S, World


class Carry:
    """Carries effects out in one world."""

    def __init__(self, world: World, laws: Laws, rng: Random, locks: Locks) -> None:
        self._world = world
        self._laws = laws
        self._rng = rng
        self.locks = locks
        self.lacking = gcra.lacking
        self.unused = gcra.unused
        self._arrive: dict[type, Callable[[Run, Any], ev.Event | None]] = {
            do.LookUp: self._look_up,
            do.Ask: lambda run, effect: ev.Answered(world.now, world.goes_on(effect.nonce), world.boot().settled_at),
            do.Isolate: lambda run, effect: ev.Isolated(),
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
            do.Acknowledge: self._acknowledge,
            do.GiveBack: self._give_back,
        }

    def arrive(self, run: Run, effect: do.Effect) -> ev.Event | None:
        """Let an effect take place; its answer, or None where it has none."""
        return self._arrive[type(effect)](run, effect)

    def begin(self, run: Run, effect: do.Effect) -> Coroutine[Any, Any, ev.Event | None] | None:
        """What takes an effect several steps: all that is done to locks; None of any other."""
        if isinstance(effect, do.TakeLocks):
            return self._take_locks(run)
        if isinstance(effect, do.ReleaseLocks):
            return self._release_locks(run)
        if isinstance(effect, do.Park) and effect.blocked.want.key != STRIKE:
            return self._park_behind(effect)
        return None

    async def _take_locks(self, run: Run) -> ev.Event:
        """As the performer does."""
        assert run.actor is not None
        refused: Blocked | None = None
        for want in sorted((WANTS[key] for key in run.actor.keys), key=lambda want: (want.key, want.mode)):
            if refused is None:
                refused = await self._take(run, want)
            elif run.delivery.task.waits:
                await self.locks.leases.wake(want.key, given_up_by=run.delivery.task.id)
        if refused is None:
            return ev.Locked()
        await self._release_locks(run)
        return ev.LockRefused(self._world.now, refused)

    async def _take(self, run: Run, want: Want) -> Blocked | None:
        task = run.delivery.task
        since = task.waiting_since if task.waiting_since is not None else self._world.now
        holding = Holding(run.nonce, task.id, since, worker=run.rules.worker)
        lease = await self.locks.leases.acquire(want, holding, waited=task.waits > 0)
        if isinstance(lease, Blocked):
            return lease
        self._laws.locks.acquired(lease, valid=self.locks.holds(lease))
        run.leases[:] = [one for one in run.leases if one.key != lease.key]
        run.leases.append(lease)
        return None

    def _look_up(self, run: Run, _: do.LookUp) -> ev.Event:
        task = run.delivery.task
        history = self._world.look_up(task.id, task.attempt)
        if history.started is not None:
            run.grants = self.unused(run.grants, history.started.at)
        return ev.LookedUp(self._world.now, history)

    def _mark(self, run: Run, effect: do.Mark) -> ev.Event:
        sequence = self._world.start(effect.record, effect.expected)
        if sequence is None:
            return ev.MarkRefused()
        self._laws.marked(effect.record)
        run.noted = True
        return ev.Marked(sequence)

    def _unmark(self, run: Run, effect: do.Unmark) -> None:
        taken_back = self._world.start(effect.record, effect.expected) is not None
        if not taken_back:
            self._laws.ended(run.seen, told=False)

    def void(self, run: Run) -> bool:
        """Whether a run's place has passed."""
        limited = run.actor is not None and run.actor.limited
        return limited and bool(self.lacking([SHARE], run.grants, self._world.now))

    def _reserve(self, run: Run, _: do.Reserve) -> ev.Event:
        now = self._world.now
        if self.void(run):
            run.grants = {SHARE.name: self._world.reserve(SHARE)}
        until = run.grants[SHARE.name]
        if until <= now:
            return ev.Granted()
        return ev.Throttled(now, until, run.grants, room=self._rng.random() < 0.9)

    def _set_aside(self, run: Run, effect: do.SetAside) -> None:
        run.delivery.grants = effect.grants

    def _execute(self, run: Run, _: do.Execute) -> ev.Event:
        now, actor, task = self._world.now, run.actor, run.delivery.task
        assert actor is not None
        self._write(run)
        if run.interrupted and self._rng.random() < 0.8:
            self._laws.interrupted(run.seen)
            run.seen.excused = True
            return ev.Interrupted(run.started_at, now)
        if run.flag is not None and self._rng.random() < 0.5:
            return ev.Honoured(run.started_at, now, run.flag, "stopped")
        if actor.kind == "poison":
            raise Killed
        if actor.kind == "snoozing" and self._laws.executions[task.id] <= actor.rounds:
            run.seen.excused = True
            return ev.Snoozed(now + self._rng.choice((1.0, 5.0)))
        if actor.fails(task.attempt):
            self._laws.raised(run.seen)
            retry = task.attempt <= actor.retries_max
            return ev.Raised(run.started_at, now, Failure("E", "no"), now + 2.0 if retry else None)
        return self._returned(run)

    def _write(self, run: Run) -> None:
        """Under the token of each lock that excludes others, whatever has become of it."""
        for lease in filter(is_alone, run.leases):
            accepted = self._world.write(lease.want.key, lease.token)
            self._laws.locks.wrote(lease, accepted=accepted, valid=self.locks.holds(lease))

    def _returned(self, run: Run) -> ev.Event:
        return ev.Returned(run.started_at, self._world.now, b"null", flagged=run.flag is not None)

    def _commit(self, _run: Run, effect: do.Commit) -> ev.Event:
        if self._world.commit(effect.record):
            self._laws.committed(effect.record)
        return ev.Written()

    def _record_failure(self, _run: Run, effect: do.RecordFailure) -> ev.Event:
        standing = self._world.fail(effect.record)
        if standing is not None:
            return ev.Overtaken(standing)
        self._laws.failed(effect.record)
        return ev.Written()

    def _arm(self, run: Run, effect: do.Arm) -> ev.Event:
        if self._world.arm(effect.task, effect.at):
            self._laws.armed(effect.task.id, effect.task.hop)
        return self._flagged_or_written(run)

    def _park(self, run: Run, effect: do.Park) -> ev.Event:
        until = min(effect.until, self._world.now + STRIKE_S)
        if self._world.park(effect.task, STRIKE, until):
            self._laws.armed(effect.task.id, effect.task.hop)
        if self._rng.random() < 0.3:  # it was ended meanwhile
            self._world.unstrike()
        return self._flagged_or_written(run)

    def _flagged_or_written(self, run: Run) -> ev.Event:
        return ev.Written() if run.flag is None else ev.Flagged(self._world.now, run.nonce, run.flag)

    def _forward(self, run: Run, effect: do.Forward) -> ev.Event:
        self._world.submit(effect.task, resent=True)
        self._laws.excuse(run.seen.id)
        return ev.Written()

    async def _release_locks(self, run: Run) -> None:
        while run.leases:
            await self.locks.leases.release(run.leases.pop())

    async def _park_behind(self, effect: do.Park) -> ev.Event:
        task, key = effect.task, effect.blocked.want.key
        self._world.bucket.parking[subject.parked(key, rank(task), task.id, task.hop)] = task
        await self.locks.leases.park(task, effect.blocked, effect.until)
        return ev.Written()

    def _acknowledge(self, run: Run, _: do.Acknowledge) -> None:
        message = self._world.acknowledge(int(run.delivery.token))
        if message is not None:
            self._laws.removed(message)

    def _give_back(self, run: Run, _: do.GiveBack) -> None:
        self._world.give_back(int(run.delivery.token))
