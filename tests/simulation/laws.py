"""What must hold of every world, checked at the moment it could break, and at the end.

The laws watch from outside: they know every fault that was played, and so what a fault may excuse.
"""

from collections import Counter, defaultdict
from typing import Literal

import msgspec

from natsume.core import phases as at
from natsume.model.record import Done, Failed, Started
from natsume.model.task import Reason, State

from .breach import LawBroken
from .lock_laws import LockLaws
from .scenario import CRASHES_MAX, Actor, Scenario
from .world import Message, World


class Mark(msgspec.Struct):
    """A marked start: `cut` when its run ended without telling, `ended` when it told."""

    nonce: str
    crashes: int
    fate: Literal["live", "cut", "ended"] = "live"


class Witness(msgspec.Struct):
    """What the laws need to know of one run."""

    id: str
    attempt: int
    nonce: str
    kind: str
    done_at_opening: bool
    failed_at_opening: bool
    executed: bool = False
    closed: bool = False
    flagged: bool = False
    excused: bool = False


class Laws:
    """Watches one world."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        self._world = world
        self._actors = {task.id: scenario.actors[task.actor] for task, _ in scenario.tasks}
        self._ids = list(self._actors)
        self._commits: Counter[str] = Counter()
        self._raised: defaultdict[str, set[int]] = defaultdict(set)
        self._unmarked: Counter[str] = Counter()
        self._excused: Counter[str] = Counter()
        self._armed: set[tuple[str, int]] = set()
        self._marks: defaultdict[tuple[str, int], list[Mark]] = defaultdict(list)
        self._sent_again: set[str] = set()
        self._doubled: set[str] = set()
        self._executed: defaultdict[tuple[str, int], list[Witness]] = defaultdict(list)
        self._interrupted: set[str] = set()
        self.locks = LockLaws(world)
        self.executions: Counter[str] = Counter()

    # what happens

    def sent_again(self, task_id: str) -> None:
        """A client sent its task again: the copies may overtake each other, and only the later one is looked up."""
        self.excuse(task_id)
        self._sent_again.add(task_id)
        self.doubled(task_id)

    def doubled(self, task_id: str) -> None:
        """A fault that is no broker's crash made a second copy, which may run beside the first."""
        self._doubled.add(task_id)

    def excuse(self, task_id: str, count: int = 1) -> None:
        """A fault made a copy that may start once more without a mark."""
        self._excused[task_id] += count

    def armed(self, task_id: str, hop: int) -> None:
        """A hop was armed; where it had fired already, that makes a second chain."""
        if (task_id, hop) in self._armed:
            self.excuse(task_id)
        self._armed.add((task_id, hop))

    def opened(self, task_id: str, attempt: int, nonce: str, *, suspect: bool) -> Witness:
        """A copy got its slot."""
        overtaken = not suspect and task_id in self._sent_again
        done = not overtaken and self._world.done(task_id) is not None
        failed = not overtaken and self._world.failed(task_id, attempt)
        return Witness(task_id, attempt, nonce, self._actors[task_id].kind, done, failed)

    def executes(self, run: Witness, phase: at.Phase, held: set[str], others_run: bool) -> None:
        """The actor is about to start."""
        assert isinstance(phase, at.Running)
        if run.done_at_opening:
            raise LawBroken("a committed task is not run again", f"{run.nonce} runs {run.id}")
        if run.failed_at_opening:
            raise LawBroken("attempts never go back", f"{run.nonce} runs {run.id} #{run.attempt}")
        actor = self._actors[run.id]
        if run.attempt > actor.retries_max + 1:
            raise LawBroken("retries are bounded", f"{run.id} runs its attempt {run.attempt}")
        if not held.issuperset(actor.keys):
            raise LawBroken("a task runs with its locks", f"{run.id} holds {held} of {actor.keys}")
        if phase.crashes > 1 and others_run:
            raise LawBroken("what crashed runs alone", f"{run.nonce} runs {run.id} beside others")
        for other in self._executed[run.id, run.attempt]:
            if not (other.excused or run.excused or run.id in self._doubled):
                how = f"{run.nonce} runs {run.id} #{run.attempt} after {other.nonce}"
                raise LawBroken("nothing runs twice when only the broker dies", how)
        self._executed[run.id, run.attempt].append(run)
        run.executed = True
        self.executions[run.id] += 1
        if not phase.crashes:
            self._unmarked[run.id] += 1
        if run.kind == "poison" and self._unmarked[run.id] > 1 + self._excused[run.id]:
            raise LawBroken("poison starts unmarked once", f"{run.id}: {self._unmarked[run.id]} times")

    def heeds(self, run: Witness) -> None:
        """The actor is about to start, as far as flags are concerned."""
        if run.flagged:
            raise LawBroken("what is known to be cancelled does not start", f"{run.nonce} runs {run.id}")

    def raised(self, run: Witness) -> None:
        """The actor failed."""
        self._raised[run.id].add(run.attempt)

    def interrupted(self, run: Witness) -> None:
        """The actor was stopped from outside."""
        self._interrupted.add(run.id)

    def sends_commit(self, run: Witness, *, lost_known: bool) -> None:
        """A done record is on its way."""
        if run.executed and lost_known:
            raise LawBroken("no commit after a lease is known to be lost", f"{run.nonce} of {run.id}")

    def committed(self, record: Done) -> None:
        """A done record was written."""
        self._commits[record.id] += 1
        if self._commits[record.id] > 1:
            raise LawBroken("one commit", f"{record.id} has a second done record, of {record.nonce}")

    def failed(self, record: Failed) -> None:
        """A failed attempt was written."""
        if record.attempt not in self._raised[record.id]:
            raise LawBroken("only failures are counted", f"{record.id} #{record.attempt}")

    def marked(self, record: Started) -> None:
        """A start was marked; each crash it counts must be a start that ended without telling."""
        marks = self._marks[record.id, record.attempt]
        untold = sum(mark.fate != "ended" for mark in marks)
        settled = self._world.done(record.id) or self._world.failed(record.id, record.attempt)
        if record.crashes - 1 > untold and not settled:
            how = f"{record.id} #{record.attempt}: {record.crashes - 1} counted, {untold} happened"
            raise LawBroken("only crashes are counted as crashes", how)
        cut = sum(mark.fate == "cut" for mark in marks)
        for mark in [mark for mark in marks if mark.fate == "live"][: max(0, record.crashes - 1 - cut)]:
            mark.fate = "cut"  # nothing was heard of its worker when it was counted, whatever that tells later
        marks.append(Mark(record.nonce, record.crashes))

    def ended(self, run: Witness, *, told: bool) -> None:
        """A run is over: it told how, or its worker died or let go of it."""
        for mark in self._marks[run.id, run.attempt]:
            if mark.nonce == run.nonce and mark.fate == "live":
                mark.fate = "ended" if told else "cut"

    def killed_by_neighbour(self, run: Witness) -> None:
        """A poison task took this one's worker along."""
        if any(m.nonce == run.nonce and m.crashes > 1 for m in self._marks[run.id, run.attempt]):
            raise LawBroken("innocents are not counted out", f"{run.id} died beside poison, marked")

    def closes(self, run: Witness) -> None:
        """A delivery is acknowledged or given back."""
        if run.closed:
            raise LawBroken("a delivery is closed once", f"{run.nonce} of {run.id}")
        run.closed = True

    def goes_on(self, run: Witness, effect: object) -> None:
        """Something is done for a delivery."""
        if run.closed:
            raise LawBroken("nothing follows the close", f"{run.nonce}: {type(effect).__name__}")

    def removed(self, message: Message) -> None:
        """A message was acknowledged: something durable must carry its task on."""
        task_id, world = message.task.id, self._world
        if world.done(task_id) is not None:
            return
        if any(other.task.id == task_id for other in world.tasks.values()):
            return
        if any(schedule.task.id == task_id for schedule in world.later.values()):
            return
        raise LawBroken("durable fact first, ack last", f"nothing is left of {task_id}")

    # the end

    def end(self) -> None:
        """Everything that was submitted has ended as its actor says."""
        for task_id in self._ids:
            done = self._world.done(task_id)
            if done is None:
                raise LawBroken("nothing is lost", f"{task_id} has no done record")
            self._attempts(done)
            self._outcome(done, self._actors[task_id])

    def _attempts(self, done: Done) -> None:
        failed = 0
        while self._world.failed(done.id, failed + 1):
            failed += 1
        written = sum(
            isinstance(stored.record, Failed) and stored.record.id == done.id for stored in self._world.records.values()
        )
        if written != failed or done.attempt > failed + 1:
            how = f"{done.id} ended at {done.attempt}, {failed} failures in a row of {written}"
            raise LawBroken("attempts are counted failures", how)
        if not self._raised[done.id] and done.attempt != 1:
            raise LawBroken("only failures are counted", f"{done.id} ended at {done.attempt}")

    def _outcome(self, done: Done, actor: Actor) -> None:
        letter = done.letter.reason if done.letter else None
        if done.flagged and done.id not in self._world.flags:
            raise LawBroken("only what is flagged is cancelled", f"{done.id} ended {done.state}")
        if done.flagged and done.state is State.CANCELLED:
            return
        if letter is Reason.CRASHED and done.crashes >= CRASHES_MAX:
            return  # each counted crash was checked when it was marked
        if done.state is State.DROPPED and actor.drop_on_shutdown and done.id in self._interrupted:
            return
        if letter is Reason.UNKNOWN_ACTOR and actor.kind in {"rare", "stray"}:
            return
        if letter is Reason.EXPIRED and actor.keys and actor.wait_limit_s is not None:
            return
        if actor.kind == "failing" and done.state is State.FAILED and done.attempt == actor.retries_max + 1:
            return
        if actor.kind == "tick" and done.state is State.CANCELLED:
            return
        if actor.kind not in {"poison", "failing", "stray"} and done.state is State.COMPLETED:
            return
        how = f"{done.id}, {actor.kind}, ended {done.state} ({letter}) at {done.attempt}"
        raise LawBroken("a task ends as its actor says", how)
