"""What each effect does at the broker when it arrives there, and what it reports."""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import gcra
from natsume.core import phases as at
from natsume.core.delivery import Delivery, Rules
from natsume.model.record import Failure, Flag

from .laws import Laws, Witness
from .scenario import SHARE, Actor
from .world import STRIKE, STRIKE_S, Lock, World


class Killed(Exception):
    """The actor took its worker along."""


class Run:
    """A delivery in a slot: what is ordered, what is on its way, what is answered."""

    def __init__(self, delivery: Delivery, nonce: str, rules: Rules, actor: Actor | None, seen: Witness) -> None:
        self.delivery = delivery
        self.nonce = nonce
        self.rules = rules
        self.actor = actor
        self.seen = seen
        self.phase: at.Phase = at.Buffered()
        self.ordered: deque[do.Effect] = deque()
        self.sent: do.Effect | None = None
        self.answer: ev.Event | None = None
        self.leases: dict[str, Lock] = {}
        self.lost_untold = False
        self.lost = False
        self.flag: Flag | None = None
        self.interrupted = False
        self.noted = False
        self.started_at = 0.0
        self.grants = delivery.grants or {}
        delivery.grants = None

    @property
    def awaits_answer(self) -> bool:
        """Whether something of it is on its way to the broker."""
        return self.sent is not None and not isinstance(self.sent, do.Execute | do.Isolate | do.SetAside)

    @property
    def ends_at(self) -> float:
        """When its actor ends by itself."""
        return self.started_at + (self.actor.takes_s if self.actor is not None else 0.0)

    @property
    def looks(self) -> bool:
        """Whether it waits for those that outlived the broker to note what they run."""
        suspect = isinstance(self.phase, at.Locking) and self.phase.suspect
        return isinstance(self.sent, do.LookUp) or (suspect and isinstance(self.sent, do.TakeLocks))

    @property
    def has_started(self) -> bool:
        """Whether the actor was started and what came of it is not recorded yet."""
        return isinstance(self.phase, at.Running | at.Failing) or (
            isinstance(self.phase, at.Committing) and self.phase.run is not None
        )


def brief(event: ev.Event | None) -> str:
    """An event as the trace tells it."""
    match event:
        case None:
            return "no answer is needed"
        case ev.LookedUp(history=history) if history.done is not None:
            return f"done by {history.done.nonce}"
        case ev.LookedUp(history=history) if history.failed is not None:
            return f"attempt {history.failed.attempt} failed, the next is hop {history.failed.next_hop}"
        case ev.LookedUp(history=history) if history.started is not None:
            return f"started by {history.started.nonce or 'nobody'}, {history.started.crashes} crashes"
        case ev.LookedUp():
            return "nothing is known"
        case ev.Raised(retry_at=retry_at):
            return "Raised, for good" if retry_at is None else f"Raised, again at {retry_at:.1f}"
        case ev.Answered(goes_on=goes_on):
            return {True: "it goes on", False: "it does not go on", None: "nobody answers"}[goes_on]
        case ev.Overtaken():
            return "Overtaken"
        case _:
            return type(event).__name__


class Carry:
    """Carries effects out in one world."""

    def __init__(self, world: World, laws: Laws, rng: Random) -> None:
        self._world = world
        self._laws = laws
        self._rng = rng
        self.lacking = gcra.lacking
        self.unused = gcra.unused
        self._arrive: dict[type, Callable[[Run, Any], ev.Event | None]] = {
            do.TakeLocks: self._take_locks,
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
            do.ReleaseLocks: self._release_locks,
            do.Acknowledge: self._acknowledge,
            do.GiveBack: self._give_back,
        }

    def arrive(self, run: Run, effect: do.Effect) -> ev.Event | None:
        """Let an effect take place; its answer, or None where it has none."""
        return self._arrive[type(effect)](run, effect)

    def arrive_in_part(self, run: Run) -> None:
        """Let the first lock be taken, and nothing else happen."""
        if run.actor is not None:
            self._acquire(run, run.actor.keys[:1])

    def _take_locks(self, run: Run, _: do.TakeLocks) -> ev.Event:
        assert run.actor is not None
        if self._acquire(run, run.actor.keys):
            return ev.Locked()
        blocked = self._world.blocked(run.actor.keys, run.nonce)
        self._release_locks(run, do.ReleaseLocks())
        return ev.LockRefused(self._world.now, blocked)

    def _acquire(self, run: Run, keys: Sequence[str]) -> bool:
        task, refused = run.delivery.task, False
        since = task.waiting_since if task.waiting_since is not None else self._world.now
        for key in keys:
            lock = self._world.acquire(key, run.nonce, task.id, since)
            if lock is None:
                refused = True
                if not task.waits:
                    return False
                continue
            had = run.leases.get(key)
            self._laws.acquired(key, lock.token, again=had is not None)
            run.leases[key] = lock
        return not refused

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
        key = effect.blocked.want.key
        until = min(effect.until, self._world.now + STRIKE_S) if key == STRIKE else effect.until
        if self._world.park(effect.task, key, until):
            self._laws.armed(effect.task.id, effect.task.hop)
        if key != STRIKE:
            self._world.wake(key)
        elif self._rng.random() < 0.3:  # it was ended meanwhile
            self._world.unstrike()
        return self._flagged_or_written(run)

    def _flagged_or_written(self, run: Run) -> ev.Event:
        return ev.Written() if run.flag is None else ev.Flagged(self._world.now, run.nonce, run.flag)

    def _forward(self, run: Run, effect: do.Forward) -> ev.Event:
        self._world.submit(effect.task, resent=True)
        self._laws.excuse(run.seen.id)
        return ev.Written()

    def _release_locks(self, run: Run, _: do.ReleaseLocks) -> None:
        while run.leases:
            key, _lock = run.leases.popitem()
            self._world.release(key, run.nonce)

    def _acknowledge(self, run: Run, _: do.Acknowledge) -> None:
        message = self._world.acknowledge(int(run.delivery.token))
        if message is not None:
            self._laws.removed(message)

    def _give_back(self, run: Run, _: do.GiveBack) -> None:
        self._world.give_back(int(run.delivery.token))
