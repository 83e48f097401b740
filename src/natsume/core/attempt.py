"""The table: what a delivery does next, for every phase and event that can meet.

Laws, each held by the simulation: the durable fact comes first and the acknowledgement last; a delivery
is closed by exactly one Acknowledge or GiveBack; any prefix of the effects followed by a redelivery is
safe; whoever finds a fact of another copy helps it on before letting go.
"""

from typing import Final

from msgspec.structs import replace

from natsume.core import admission, outcome, tick, waiting
from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import phases as at
from natsume.core.delivery import Delivery, Rules
from natsume.core.rows import CLOSE as _CLOSE
from natsume.core.rows import EXECUTE as _EXECUTE
from natsume.core.rows import LOOK_UP as _LOOK_UP
from natsume.core.rows import RESERVE as _RESERVE
from natsume.core.rows import Step, Table, entering
from natsume.core.rows import arm as _arm
from natsume.core.rows import commit as _commit
from natsume.core.rows import park as _park
from natsume.core.rows import start as _start
from natsume.model.limits import UNKNOWN_OFFERS_MAX
from natsume.model.task import Fault, Reason
from natsume.model.times import HOLD_LEAD_S, HOLD_S

_TAKE_LOCKS: Final = (do.TakeLocks(),)

TABLE: Final[Table] = dict(admission.ROWS)

_row = entering(TABLE)


def step(phase: at.Phase, delivery: Delivery, rules: Rules, event: ev.Event) -> Step:
    """The next phase and the effects that lead on from it; a pair that cannot be asserts."""
    rule = TABLE.get((type(phase), type(event)))
    assert rule is not None, f"{type(event).__name__} cannot happen in {type(phase).__name__}"
    return rule(phase, delivery, rules, event)


@_row(at.Buffered, ev.Opened)
def _opened(_: at.Buffered, delivery: Delivery, rules: Rules, event: ev.Opened) -> Step:
    """What cannot run is kept; what lies on a wrong lane is moved; what may have run is looked up.

    What is flagged ends here, whatever else is to be said of it: if it has an end already, the fence says so.
    """
    if event.flag is not None:
        return _cancel(delivery, rules, ev.Flagged(event.at, event.nonce, event.flag))
    if event.fault is not None:
        return _faulty(delivery, rules, event, event.fault)
    if delivery.task.lane != rules.lane:
        moved = outcome.moved(delivery.task, rules.lane)
        return at.Forwarding(moved), (do.Forward(moved),)
    if event.not_before > event.at:
        return _arm(outcome.snoozed(delivery.task), event.not_before)
    late = tick.fired_late(delivery.task, rules.ticks, delivery.stored_at)
    if late is not None:
        return at.Skipping(event.nonce, late), _LOOK_UP
    if event.struck is not None:
        return _park(outcome.struck(delivery.task), event.struck, event.at)
    if event.locks:
        return at.Locking(event.nonce, event.suspect), _TAKE_LOCKS
    if event.suspect:
        return at.Checking(event.nonce), _LOOK_UP
    return _start(at.Running(event.nonce), rules)


def _faulty(delivery: Delivery, rules: Rules, event: ev.Opened, fault: Fault) -> Step:
    task = delivery.task
    if fault.reason is Reason.UNKNOWN_ACTOR and task.actor and task.offers < UNKNOWN_OFFERS_MAX:
        pause_s = outcome.offer_pause_s(task.offers, rules.ack_wait_s)
        return _arm(outcome.offered(task), event.at + pause_s)
    return _commit(outcome.dead(delivery, rules.worker, event.nonce, fault, event.at))


@_row(at.Locking, ev.Locked)
def _locked(phase: at.Locking, _d: Delivery, rules: Rules, _e: ev.Locked) -> Step:
    """The records are asked under the lock, so that the answer cannot age."""
    if phase.suspect:
        return at.Checking(phase.nonce), _LOOK_UP
    return _start(at.Running(phase.nonce), rules)


@_row(at.Locking, ev.LockRefused)
def _lock_refused(phase: at.Locking, delivery: Delivery, rules: Rules, event: ev.LockRefused) -> Step:
    """Waiting costs no attempt and no slot; of a schedule's ticks one waits, and none beyond its actor's limit."""
    task, blocked = delivery.task, event.blocked
    overlaps = tick.refused(task, rules.ticks, blocked.task, blocked.since)
    if overlaps is not None:
        return at.Skipping(phase.nonce, overlaps), _LOOK_UP
    if waiting.is_over(task, rules, blocked, event.at):
        return at.Expiring(phase.nonce, blocked), _LOOK_UP
    return _park(outcome.parked(task, event.at), blocked, event.at, rules)


@_row(at.Reserving, ev.Granted)
def _granted(phase: at.Reserving, _d: Delivery, _r: Rules, _e: ev.Granted) -> Step:
    """Now it starts."""
    return phase.run, _EXECUTE


@_row(at.Reserving, ev.Throttled)
def _throttled(phase: at.Reserving, delivery: Delivery, rules: Rules, event: ev.Throttled) -> Step:
    """It waits without slot and locks: in hand if its place is near, else as a schedule till shortly before."""
    let_go = (*_unmark(phase.run, delivery, rules, event.at), do.ReleaseLocks())
    if event.room and event.until - event.at < HOLD_S:
        return at.SetAside(), (*let_go, do.SetAside(event.grants))
    phase_after, effects = _arm(outcome.throttled(delivery.task, event), max(event.at, event.until - HOLD_LEAD_S))
    return phase_after, let_go + effects


@_row(at.Reserving, ev.Uncertain)
def _reserve_uncertain(phase: at.Reserving, _d: Delivery, _r: Rules, _e: ev.Uncertain) -> Step:
    """A place that was given and not told is lost: too few starts are allowed, too many are not.

    What has no mark may be with others by now.
    """
    return (phase, _RESERVE) if phase.run.mark else (at.Checking(phase.run.nonce), _LOOK_UP)


@_row(at.Running, ev.GrantVoid)
def _grant_void(phase: at.Running, _d: Delivery, _r: Rules, _e: ev.GrantVoid) -> Step:
    """It asks anew."""
    return at.Reserving(phase), _RESERVE


@_row(at.Running, ev.Flagged)
@_row(at.Arming, ev.Flagged)
@_row(at.Parking, ev.Flagged)
def _flagged(_: at.Phase, delivery: Delivery, rules: Rules, event: ev.Flagged) -> Step:
    """It does not start, or its successor will not: that finds the done record."""
    return _cancel(delivery, rules, event)


@_row(at.Running, ev.Honoured)
def _honoured(phase: at.Running, delivery: Delivery, rules: Rules, event: ev.Honoured) -> Step:
    """Cancelled, unless a lock is known to be lost: then it ends so when it is opened again."""
    if phase.lost:
        return _run_again(phase, delivery, rules, event.at)
    record = outcome.cancelled(delivery, rules.worker, phase.nonce, event)
    return at.Committing(record, phase), (do.Commit(record),)


@_row(at.Running, ev.LeaseGone)
def _lease_gone(phase: at.Running, _d: Delivery, _r: Rules, _e: ev.LeaseGone) -> Step:
    """Without its lock the task is stopped, and what it still reports is dropped."""
    return replace(phase, lost=True), (do.Interrupt(),)


@_row(at.Running, ev.Returned)
def _returned(phase: at.Running, delivery: Delivery, rules: Rules, event: ev.Returned) -> Step:
    """Success is committed, unless a lock is known to be lost."""
    if phase.lost:
        return _run_again(phase, delivery, rules, event.at)
    record = outcome.completed(delivery, rules, phase.nonce, event)
    return at.Committing(record, phase), (do.Commit(record),)


@_row(at.Running, ev.Raised)
def _raised(phase: at.Running, delivery: Delivery, rules: Rules, event: ev.Raised) -> Step:
    """A failure with a time is tried again then; one without is the end."""
    if phase.lost:
        return _run_again(phase, delivery, rules, event.at)
    if event.retry_at is None:
        record = outcome.failed_for_good(delivery, rules, phase.nonce, event)
        return at.Committing(record, phase), (do.Commit(record),)
    failed = outcome.failed_attempt(delivery, rules, event, event.retry_at)
    return at.Failing(failed, phase), (do.RecordFailure(failed),)


@_row(at.Running, ev.Snoozed)
def _snoozed(phase: at.Running, delivery: Delivery, rules: Rules, event: ev.Snoozed) -> Step:
    """The attempt goes on later: a mark of its start is taken back, for it was no crash."""
    phase_after, effects = _arm(outcome.snoozed(delivery.task), event.until)
    return phase_after, _unmark(phase, delivery, rules, event.at) + effects


@_row(at.Running, ev.Interrupted)
def _interrupted(phase: at.Running, delivery: Delivery, rules: Rules, event: ev.Interrupted) -> Step:
    """A shutdown counts no attempt: it runs again, unless its actor says that it must not."""
    if rules.drop_on_shutdown and not phase.lost:
        record = outcome.dropped(delivery, rules, phase.nonce, event.started_at, event.at)
        return at.Committing(record, phase), (do.Commit(record),)
    return _run_again(phase, delivery, rules, event.at)


@_row(at.Committing, ev.LeaseGone)
def _lease_gone_late(phase: at.Committing, _d: Delivery, _r: Rules, _e: ev.LeaseGone) -> Step:
    """A commit on its way stands; one that must be repeated does not."""
    return (replace(phase, run=replace(phase.run, lost=True)) if phase.run else phase), ()


@_row(at.Committing, ev.Uncertain)
def _commit_uncertain(phase: at.Committing, delivery: Delivery, rules: Rules, _: ev.Uncertain) -> Step:
    """The fence makes repeating safe; a lost lock makes it wrong."""
    if phase.run is not None and phase.run.lost:
        return _run_again(phase.run, delivery, rules, phase.record.finished_at)
    return phase, (do.Commit(phase.record),)


@_row(at.Failing, ev.Written)
@_row(at.Failing, ev.Overtaken)
def _failure_stands(phase: at.Failing, delivery: Delivery, _: Rules, event: ev.Written | ev.Overtaken) -> Step:
    """The successor follows: another copy's, if that failed first, for it may not be armed yet."""
    failed = event.failed if isinstance(event, ev.Overtaken) else phase.record
    return _arm(outcome.next_attempt(delivery.task, failed), failed.next_at)


@_row(at.Failing, ev.Uncertain)
def _failure_uncertain(phase: at.Failing, _d: Delivery, _r: Rules, _e: ev.Uncertain) -> Step:
    """The fence makes repeating safe."""
    return phase, (do.RecordFailure(phase.record),)


@_row(at.Arming, ev.Uncertain)
def _arm_uncertain(phase: at.Arming, _d: Delivery, _r: Rules, _e: ev.Uncertain) -> Step:
    """A hop that is armed already refuses a second one."""
    return phase, (do.Arm(phase.task, phase.at),)


@_row(at.Parking, ev.Uncertain)
def _park_uncertain(phase: at.Parking, _d: Delivery, _r: Rules, _e: ev.Uncertain) -> Step:
    """A hop that is parked already refuses a second one."""
    return phase, (do.Park(phase.task, phase.blocked, phase.until),)


@_row(at.Forwarding, ev.Uncertain)
def _forward_uncertain(phase: at.Forwarding, _d: Delivery, _r: Rules, _e: ev.Uncertain) -> Step:
    """A second copy is looked up before it runs."""
    return phase, (do.Forward(phase.task),)


@_row(at.Locking, ev.Uncertain)
def _locks_uncertain(phase: at.Locking, _d: Delivery, _r: Rules, _e: ev.Uncertain) -> Step:
    """A lock that was taken after all is recognised by its holder; what is lost meanwhile may be with others."""
    return replace(phase, suspect=True), _TAKE_LOCKS


@_row(at.Committing, ev.Written)
@_row(at.Arming, ev.Written)
@_row(at.Parking, ev.Written)
@_row(at.Forwarding, ev.Written)
def _written(_p: at.Phase, _d: Delivery, _r: Rules, _e: ev.Written) -> Step:
    """The fact stands, by whichever copy: locks first, acknowledgement last."""
    return _CLOSE


def _cancel(delivery: Delivery, rules: Rules, event: ev.Flagged) -> Step:
    return _commit(outcome.cancelled(delivery, rules.worker, event.nonce, event))


def _run_again(run: at.Running, delivery: Delivery, rules: Rules, now: float) -> Step:
    effects = (*_unmark(run, delivery, rules, now), do.ReleaseLocks(), do.GiveBack())
    return at.Closed(), effects


def _unmark(run: at.Running, delivery: Delivery, rules: Rules, now: float) -> tuple[do.Effect, ...]:
    if not run.mark:
        return ()
    record = replace(outcome.start(delivery.task, rules.worker, now, "", max(0, run.crashes - 1)), ended=True)
    return (do.Unmark(record, run.mark),)
