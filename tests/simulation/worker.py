"""A simulated worker: drives the real table as the real shell does, one effect at a time.

An effect is sent when the table orders it, takes place when it arrives at the broker, and its answer is
told when the scheduler says so: whatever happens in between, happens in between.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final

from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import phases as at
from natsume.core.attempt import step
from natsume.core.delivery import Boot, Delivery, Rules
from natsume.core.rows import Step
from natsume.model.lock import Blocked, Want
from natsume.model.task import Fault, Reason, State

from .carry import Carry
from .laws import Laws
from .process import Process
from .records import START
from .runs import Run, brief
from .scenario import SHARE, Scenario
from .world import STRIKE, World

Table = Callable[[at.Phase, Delivery, Rules, ev.Event], Step]

_NO_ANSWER: Final = (do.Acknowledge, do.GiveBack, do.ReleaseLocks, do.Unmark)
_UNKNOWN: Final = Fault(Reason.UNKNOWN_ACTOR, "no worker here knows the actor")


class Worker(Process):
    """A process that drives the table."""

    carries: type[Carry] = Carry

    def __init__(self, number: int, name: str, world: World, laws: Laws, scenario: Scenario, rng: Random) -> None:
        super().__init__(number, name, world, laws, scenario.concurrency)
        self.isolating: deque[Run] = deque()
        self.isolated: Run | None = None
        self.table: Table = step
        self._scenario = scenario
        self._rng = rng
        self._count = 0
        self.carry = self.carries(world, laws, rng, self.locks)

    def can_open(self) -> bool:
        """Whether a slot is free for what is buffered."""
        busy = self.isolating or self.isolated or self.draining
        return bool(self.buffer) and not busy and len(self.runs) < self._slots

    def open(self) -> None:
        """Give the next delivery its slot."""
        delivery, since = self.buffer.pop(0)
        task = delivery.task
        self._count += 1
        actor = self._scenario.actors[task.actor]
        known = actor.known_to(self.number)
        rules = actor.rules(self.name) if known else Rules(task.actor, task.lane, worker=self.name)
        nonce = f"{self.name}-{self._count}"
        suspect = self.suspects(delivery, since)
        seen = self.laws.opened(task.id, task.attempt, nonce, suspect=suspect)
        run = Run(delivery, nonce, rules, actor if known else None, seen)
        self.runs.append(run)
        locks = known and bool(actor.keys)
        struck = Blocked(Want(STRIKE, STRIKE), first=False) if self.world.now < START + actor.struck_until else None
        fault = None if known else _UNKNOWN
        run.flag = self._flag_of(task.id)
        self._tell(run, ev.Opened(self.world.now, nonce, suspect, locks, fault, struck=struck, flag=run.flag))

    def lose_connection(self) -> None:
        """Forget the boot mark, doubt what has not started, get no answer to what is on its way."""
        self.boot = Boot()
        self.doubt()
        for run in [run for run in self.runs if run.answer is not None and run.sent is None]:
            self.advance(run)  # an answer that has come is acted on before the loss is noticed
        for run in self.runs:
            run.delivery.doubted = True
        for run in [run for run in self.runs if run.awaits_answer]:
            self.cannot_tell(run, done=self._rng.random() < 0.5)

    def can_advance(self, run: Run) -> bool:
        """Whether its next step may be taken now: isolation waits for others, the broker's answers for a connection."""
        if run.awaits_answer and not self.connected:
            return False
        if isinstance(run.sent, do.Execute) and not run.interrupted and self.world.now < run.ends_at:
            return False
        if run.looks and self.world.now < self.boot.settled_at:
            return False
        if not isinstance(run.sent, do.Isolate) or self.isolated is run:
            return True
        if self.isolated is None and self.isolating[0] is run and len(self.runs) == len(self.isolating):
            self.isolating.popleft()
            self.isolated = run
            return True
        return False

    def advance(self, run: Run) -> None:
        """Let the effect on its way arrive, or tell its answer to the table."""
        if run.sent is not None:
            effect = run.sent
            run.work = run.work or self.carry.begin(run, effect)
            if run.work is None:
                run.answer = self.carry.arrive(run, effect)
            elif not self._work(run):
                return
            run.sent = None
            self._say(run, f"{type(effect).__name__}: {brief(run.answer)}")
            if run.ordered or run.answer is None:
                self._send(run)
        else:
            assert run.answer is not None
            answer, run.answer = run.answer, None
            self._tell(run, answer)

    def _work(self, run: Run) -> bool:
        """A few steps of what takes several; whether that was all."""
        assert run.work is not None
        try:
            for _ in range(self._rng.choice((1, 2, 4, 8))):
                self.locks.step(run.work)
        except StopIteration as end:
            run.work, run.answer = None, end.value
            return True
        return False

    def cannot_tell(self, run: Run, *, done: bool) -> None:
        """The effect on its way took place or not, and its answer is lost."""
        effect = run.sent
        assert effect is not None
        self._arrive_unheard(run, effect, done=done)
        run.sent = None
        self._say(run, f"{type(effect).__name__} has no answer ({'it happened' if done else 'it did not'})")
        if isinstance(effect, _NO_ANSWER):
            self._leave(run, told=False)
            return
        run.ordered.clear()
        run.answer = ev.Uncertain()

    def arrive_unseen(self, run: Run) -> None:
        """The effect on its way takes place, and its worker is gone."""
        assert run.sent is not None
        self._arrive_unheard(run, run.sent, done=run.work is None or self._rng.random() < 0.5)

    def _arrive_unheard(self, run: Run, effect: do.Effect, *, done: bool) -> None:
        work, run.work = run.work or self.carry.begin(run, effect), None
        if work is None:
            if done:
                self.carry.arrive(run, effect)
        elif done:
            self.locks.finish(work)
        else:
            self.locks.cut(work, self._rng.randrange(12))

    def abandon(self, run: Run) -> None:
        """Let go of a delivery at a shutdown, wherever it stands."""
        run.stop()
        if not isinstance(run.phase, at.Closed):
            self.locks.finish(self.carry.begin(run, do.ReleaseLocks()))
            self.carry.arrive(run, do.GiveBack())
        run.seen.excused = True
        self.laws.ended(run.seen, told=False)

    def lease_gone(self, run: Run) -> None:
        """Learn that a lock is lost."""
        run.lost_untold, run.lost = False, True
        run.seen.excused = True
        self._say(run, "learns that its lease is gone")
        if isinstance(run.phase, at.Running | at.Committing):
            run.phase, ordered = self.table(run.phase, run.delivery, run.rules, ev.LeaseGone())
            if ordered:
                run.interrupted = True

    def _tell(self, run: Run, event: ev.Event) -> None:
        run.phase, ordered = self.table(run.phase, run.delivery, run.rules, event)
        run.ordered.extend(ordered)
        self._send(run)

    def _send(self, run: Run) -> None:
        if not run.ordered:
            self._leave(run, told=True)
            return
        effect = run.sent = run.ordered.popleft()
        self.laws.goes_on(run.seen, effect)
        if isinstance(effect, do.Commit):
            # That its successor is not to run is nothing that the run did under its locks.
            ended_unrun = effect.record.state is State.CANCELLED and not effect.record.comment
            self.laws.sends_commit(run.seen, lost_known=run.lost and not ended_unrun)
        elif isinstance(effect, do.Isolate):
            assert self.isolated is not run, "a run that is alone waits to be alone: its worker stands still"
            self.isolating.append(run)
        elif isinstance(effect, do.Acknowledge | do.GiveBack):
            self.laws.closes(run.seen)
        elif isinstance(effect, do.Execute):
            self._start(run)

    def _start(self, run: Run) -> None:
        run.started_at = self.world.now
        run.seen.excused |= self.mute_until > self.world.now
        if run.lost:
            self.lease_gone(run)
            run.sent, run.answer = None, ev.Interrupted(run.started_at, run.started_at)
            return
        if run.flag is not None:
            run.sent, run.answer = None, ev.Flagged(self.world.now, run.nonce, run.flag)
            return
        if self.carry.void(run):
            run.sent, run.answer = None, ev.GrantVoid()
            return
        others = any(other is not run and isinstance(other.sent, do.Execute) for other in self.runs)
        if run.rules.limited:
            self.laws.locks.takes_place(run.nonce, run.delivery.task.id, run.grants[SHARE.name])
        run.seen.flagged = run.delivery.task.id in self.known_flags
        self.laws.heeds(run.seen)
        self.laws.executes(run.seen, run.phase, {lease.want.name for lease in run.leases}, others)
        self._say(run, f"runs, delivered {run.delivery.delivered} times")

    def _leave(self, run: Run, *, told: bool) -> None:
        self.laws.ended(run.seen, told=told)
        self.runs.remove(run)
        if self.isolated is run:
            self.isolated = None
        if run in self.isolating:
            self.isolating.remove(run)
        self.let_go(run.delivery)

    def _say(self, run: Run, what: str) -> None:
        if self.world.say is not None:
            task = run.delivery.task
            where = f"{task.id} #{task.attempt} hop {task.hop}, seq {run.delivery.sequence}"
            self.world.say(f"{self.world.now - START:7.1f} {run.nonce:<8} {where}: {what}")
