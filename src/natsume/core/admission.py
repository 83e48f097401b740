"""The rows of admission: what the records say of a copy, and who may start it.

Of the copies of an attempt that may be about, each writes its start behind a fence before it runs, so one
of them wins. The others ask the winner's worker, and come back until the task has an outcome or nobody runs it.
"""

from typing import Final

from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import outcome, tick, waiting
from natsume.core import phases as at
from natsume.core.delivery import Delivery, Rules, may_have_started, may_run_elsewhere
from natsume.core.rows import CLOSE, LOOK_UP, Step, Table, arm, commit, entering, park, start
from natsume.model.task import Fault, Reason

ROWS: Final[Table] = {}

_row = entering(ROWS)


@_row(at.Checking, ev.LookedUp)
def _looked_up(phase: at.Checking, delivery: Delivery, rules: Rules, event: ev.LookedUp) -> Step:
    """Done is done; a failed attempt is helped on; who runs it is asked; only then is a start counted as a crash."""
    history = event.history
    if history.done is not None:
        return CLOSE
    if history.failed is not None:
        return arm(outcome.next_attempt(delivery.task, history.failed), history.failed.next_at)
    started = history.started
    if started is not None and started.nonce == phase.nonce:
        return start(at.Running(phase.nonce, history.started_seq, started.crashes), rules)
    if started is not None and started.nonce not in {"", phase.over}:
        return at.Asking(phase.nonce, started.nonce, phase.alone), (do.Ask(started.nonce),)
    return _admit(phase, delivery, rules, event)


def _admit(phase: at.Checking, delivery: Delivery, rules: Rules, event: ev.LookedUp) -> Step:
    """Nobody runs it: what crashed is counted and runs alone, what has no other copy runs at once."""
    started = event.history.started
    stood_for = tick.covered(delivery.task, rules.ticks, event.ran, event.at) if started is None else None
    if stood_for is not None:
        return commit(outcome.skipped(delivery, rules.worker, phase.nonce, stood_for, event.at))
    crashes, half = (started.crashes, started.half) if started is not None else (0, "")
    if crashes >= rules.crashes_max:
        fault = Fault(Reason.CRASHED, f"its worker died {crashes} times while the task ran")
        return commit(outcome.dead(delivery, rules.worker, phase.nonce, fault, event.at, crashes))
    if (crashes or half) and not phase.alone:
        return at.Isolating(phase.nonce, half), (do.Isolate(),)
    if crashes or half or may_have_started(delivery):
        return _mark(phase, delivery, rules, event, crashes + 1)
    if started is not None or may_run_elsewhere(delivery):
        return _mark(phase, delivery, rules, event, 0)
    return start(at.Running(phase.nonce), rules)


def _mark(phase: at.Checking, delivery: Delivery, rules: Rules, event: ev.LookedUp, crashes: int) -> Step:
    record = outcome.start(delivery.task, rules.worker, event.at, phase.nonce, crashes)
    return at.Marking(phase.nonce, crashes, phase.alone), (do.Mark(record, event.history.started_seq),)


@_row(at.Asking, ev.Answered)
def _answered(phase: at.Asking, delivery: Delivery, rules: Rules, event: ev.Answered) -> Step:
    """What goes on elsewhere is no crash: come back later. What does not may have ended since it was read.

    A worker that is missed soon after the broker's start may still be on its way back.
    """
    missed = event.goes_on is None and event.at < event.settled_at + rules.ack_wait_s / 2
    if event.goes_on or missed:
        return arm(outcome.waiting(delivery.task), event.at + outcome.wait_s(delivery.task))
    return at.Checking(phase.nonce, phase.alone, phase.other), LOOK_UP


@_row(at.Isolating, ev.Isolated)
def _isolated(phase: at.Isolating, _d: Delivery, _r: Rules, _e: ev.Isolated) -> Step:
    """Alone, so that no other's crash is put down to it; what the records said may have aged meanwhile."""
    return at.Checking(phase.nonce, alone=True), LOOK_UP


@_row(at.Marking, ev.Marked)
def _marked(phase: at.Marking, _d: Delivery, rules: Rules, event: ev.Marked) -> Step:
    """Others know whom to ask; and a worker that dies from here on has left its mark."""
    return start(at.Running(phase.nonce, event.sequence, phase.crashes), rules)


@_row(at.Marking, ev.MarkRefused)
@_row(at.Marking, ev.Uncertain)
@_row(at.Asking, ev.Uncertain)
@_row(at.Checking, ev.Uncertain)
def _look_again(phase: at.Marking | at.Asking | at.Checking, _d: Delivery, _r: Rules, _e: ev.Event) -> Step:
    """Another copy started meanwhile, or the answer is missing: the records know."""
    return at.Checking(phase.nonce, phase.alone), LOOK_UP


@_row(at.Expiring, ev.LookedUp)
def _expire(phase: at.Expiring, delivery: Delivery, rules: Rules, event: ev.LookedUp) -> Step:
    """Another copy of it may run or have run: only a task that never started is given up, others wait on."""
    history, task = event.history, delivery.task
    if history.done is not None:
        return CLOSE
    if history.failed is not None:
        return arm(outcome.next_attempt(task, history.failed), history.failed.next_at)
    if history.started is not None and not history.started.ended:
        return park(outcome.parked(task, event.at), phase.blocked, event.at)
    sentence = waiting.sentence(task, phase.blocked, event.at)
    return commit(outcome.expired(delivery, rules, phase.nonce, sentence, event.at))


@_row(at.Skipping, ev.LookedUp)
def _skip(phase: at.Skipping, delivery: Delivery, rules: Rules, event: ev.LookedUp) -> Step:
    """Another copy of it may run or have run: only a tick that never started is skipped."""
    history, task = event.history, delivery.task
    if history.done is not None:
        return CLOSE
    if history.failed is not None:
        return arm(outcome.next_attempt(task, history.failed), history.failed.next_at)
    if history.started is not None:
        return arm(outcome.waiting(task), event.at + outcome.wait_s(task))
    return commit(outcome.skipped(delivery, rules.worker, phase.nonce, phase.sentence, event.at))


@_row(at.Skipping, ev.Uncertain)
@_row(at.Expiring, ev.Uncertain)
def _skip_uncertain(phase: at.Skipping | at.Expiring, _d: Delivery, _r: Rules, _e: ev.Uncertain) -> Step:
    """The records know."""
    return phase, LOOK_UP
