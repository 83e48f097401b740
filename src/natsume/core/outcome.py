"""The records and successors that a decision writes, as values."""

from typing import Final
from zlib import crc32

import msgspec

from natsume.core.delivery import Delivery, Rules
from natsume.core.events import Flagged, Honoured, Raised, Returned, Throttled
from natsume.model import limits, times
from natsume.model.codec import task_headers, task_subject
from natsume.model.record import Done, Failed, Failure, Letter, Started
from natsume.model.subject import Lane
from natsume.model.task import Fault, Reason, State, Task

_ALWAYS_KEPT: Final = frozenset(
    {
        Reason.CRASHED,
        Reason.SIGNAL,
        Reason.TIME_LIMIT,
        Reason.CPU_LIMIT,
        Reason.MEMORY_LIMIT,
        Reason.PROCESSES_LEFT,
    }
)


def completed(delivery: Delivery, rules: Rules, nonce: str, event: Returned) -> Done:
    """The done record of a success."""
    task = delivery.task
    # In the order of the fields: by name, so many take a microsecond more.
    return Done(
        task.id,
        task.actor,
        State.COMPLETED,
        nonce,
        rules.worker,
        task.attempt,
        event.started_at,
        event.at,
        str(task.lane),
        task.submitted_at,
        msgspec.Raw(event.result),
        tuple(event.children),
        event.chunks,
        tuple(event.groups),
        task.waits,
        task.tracked or rules.dlq_eligible,
        task.owner,
        task.tenant,
        task.parent,
        task.root,
        task.join,
        task.member,
        task.trace,
        task.labels,
        task.claim,
        task.replay_of,
        event.flagged,
        event.progress,
        event.used,
    )


def failed_for_good(delivery: Delivery, rules: Rules, nonce: str, event: Raised) -> Done:
    """The done record of a failure that is not tried again: a dead letter where someone keeps it.

    What took more than it may, or took its process with it, is always kept. A member of a join is kept whether its
    actor is eligible or not, for its replay completes the join; and so is a replay that fails again.
    """
    followed = delivery.task.join is not None or delivery.task.replay_of is not None
    kept = rules.dlq_eligible or followed or event.reason in _ALWAYS_KEPT
    letter = _letter(delivery, event.reason) if kept else None
    returned = Returned(
        event.started_at, event.at, b"null", progress=event.progress, flagged=event.flagged, used=event.used
    )
    end = completed(delivery, rules, nonce, returned)
    return msgspec.structs.replace(
        end, state=State.FAILED, failure=event.failure, letter=letter, discarded=letter is None
    )


def dead(delivery: Delivery, worker: str, nonce: str, fault: Fault, at: float, crashes: int = 0) -> Done:
    """The done record of a task that was not run (again): always a dead letter."""
    rules = Rules(delivery.task.actor, delivery.task.lane, worker=worker)
    end = completed(delivery, rules, nonce, Returned(at, at, b"null"))
    return msgspec.structs.replace(
        end,
        state=State.DROPPED if fault.reason is Reason.CRASHED else State.FAILED,
        failure=Failure(str(fault.reason), fault.sentence),
        letter=_letter(delivery, fault.reason),
        crashes=crashes,
    )


def expired(delivery: Delivery, rules: Rules, nonce: str, sentence: str, at: float) -> Done:
    """The done record of a task that waited longer than its actor allows: a dead letter, or dropped.

    A member of a join is kept in any case, for its replay completes the join.
    """
    if rules.on_wait_limit == "drop" and delivery.task.join is None:
        end = completed(delivery, rules, nonce, Returned(at, at, b"null"))
        return msgspec.structs.replace(end, state=State.DROPPED, failure=Failure("Expired", sentence), discarded=True)
    return dead(delivery, rules.worker, nonce, Fault(Reason.EXPIRED, sentence), at)


def cancelled(delivery: Delivery, worker: str, nonce: str, event: Honoured | Flagged) -> Done:
    """The done record of a task that somebody wished to end, and that did not run or gave up.

    A member of a join is kept, as any that does not complete it.
    """
    task, flag = delivery.task, event.flag
    began, comment, progress, used = event.at, "", None, None
    if isinstance(event, Honoured):
        began, comment, progress, used = event.started_at, event.comment, event.progress, event.used
    letter = _letter(delivery, Reason.CANCELLED) if task.join is not None else None
    returned = Returned(began, event.at, b"null", progress=progress, flagged=True, used=used)
    end = completed(delivery, Rules(task.actor, task.lane, worker=worker), nonce, returned)
    failure = Failure("Cancelled", f"cancelled by {flag.who}" + (f": {flag.why}" if flag.why else ""))
    return msgspec.structs.replace(
        end, state=State.CANCELLED, failure=failure, letter=letter, discarded=letter is None, comment=comment
    )


def flagged_waiting(task: Task, worker: str, event: Flagged) -> Done:
    """The done record of a task that waits as a schedule, written by who flagged it."""
    return cancelled(as_sent(task), worker, event.nonce, event)


def as_sent(task: Task) -> Delivery:
    """A task that is in nobody's hands, with its message as it lies in the broker."""
    return Delivery(task, b"", 0, headers=b"NATS/1.0\r\n%b\r\n" % task_headers(task), subject=task_subject(task))


def skipped(delivery: Delivery, worker: str, nonce: str, sentence: str, at: float) -> Done:
    """The done record of a tick that does not run, and why."""
    rules = Rules(delivery.task.actor, delivery.task.lane, worker=worker)
    end = completed(delivery, rules, nonce, Returned(at, at, b"null"))
    return msgspec.structs.replace(end, state=State.CANCELLED, failure=Failure("Skipped", sentence), discarded=True)


def duplicate(task: Task, worker: str, holder: str, at: float) -> Done:
    """The done record of a unique task that is not taken in, for another one holds its place.

    A member of a join is kept, as any that does not complete it.
    """
    delivery = as_sent(task)
    letter = _letter(delivery, Reason.DUPLICATE) if task.join is not None else None
    end = completed(delivery, Rules(task.actor, task.lane, worker=worker), holder, Returned(at, at, b"null"))
    failure = Failure("DuplicateTask", f"{task.actor} is unique, and task {holder} holds its place")
    return msgspec.structs.replace(
        end, state=State.CANCELLED, failure=failure, letter=letter, discarded=letter is None, tracked=True, claim=None
    )


def dropped(delivery: Delivery, rules: Rules, nonce: str, started_at: float, at: float) -> Done:
    """The done record of a task that a shutdown interrupted and that is not to run again.

    A member of a join is kept here too, for its replay completes the join.
    """
    letter = _letter(delivery, Reason.UNRETRYABLE) if delivery.task.join is not None else None
    end = completed(delivery, rules, nonce, Returned(started_at, at, b"null"))
    failure = Failure("Interrupted", "the worker was shut down while the task ran")
    return msgspec.structs.replace(end, state=State.DROPPED, failure=failure, letter=letter, discarded=letter is None)


def failed_attempt(delivery: Delivery, rules: Rules, event: Raised, retry_at: float) -> Failed:
    """The record of an attempt that is followed by another."""
    task = delivery.task
    return Failed(
        id=task.id,
        actor=task.actor,
        attempt=task.attempt,
        failure=event.failure,
        worker=rules.worker,
        started_at=event.started_at,
        failed_at=event.at,
        next_at=retry_at,
        next_hop=task.hop + 1,
        used=event.used,
    )


def next_attempt(task: Task, failed: Failed) -> Task:
    """The task that follows a failed attempt, whoever arms it.

    Its hop is above the one in hand: a fired schedule may still lie on its subject for a moment, and to
    be refused there would be taken for being armed already.
    """
    return msgspec.structs.replace(
        task,
        attempt=failed.attempt + 1,
        hop=max(failed.next_hop, task.hop + 1),
        waits=0,
        offers=0,
        waiting_since=None,
        grants=None,
    )


def parked(task: Task, at: float) -> Task:
    """The task that waits for a lock, since its first refusal."""
    since = task.waiting_since if task.waiting_since is not None else at
    return msgspec.structs.replace(task, hop=task.hop + 1, waits=task.waits + 1, waiting_since=since, grants=None)


def throttled(task: Task, event: Throttled) -> Task:
    """The task that returns for its places under its rate limiters; its wait for locks has ended."""
    successor = parked(task, event.at)
    return msgspec.structs.replace(successor, waiting_since=None, grants=event.grants or None)


def struck(task: Task) -> Task:
    """The task that waits until a strike ends; what it waited for before counts no more."""
    return msgspec.structs.replace(task, hop=task.hop + 1, waits=task.waits + 1, waiting_since=None, grants=None)


def waiting(task: Task) -> Task:
    """The task that comes back when its other copy may have ended."""
    return msgspec.structs.replace(task, hop=task.hop + 1, waits=task.waits + 1, grants=None)


def wait_s(task: Task) -> float:
    """How long a task stays away after its last refusal.

    Doubled each time, and scaled by a half to one as id and count have it: those that were refused
    together must not all come back together.
    """
    longest = min(times.WAIT_FIRST_S * 2.0 ** min(task.waits, 16), times.WAIT_LAST_S)
    return float(longest * spread(task))


def spread(task: Task) -> float:
    """A factor of a half to one, another at each wait."""
    return 0.5 + 0.5 * crc32(f"{task.id}/{task.waits}".encode()) / 2**32


def offered(task: Task) -> Task:
    """The task that goes back for a worker that knows its actor."""
    return msgspec.structs.replace(task, hop=task.hop + 1, offers=task.offers + 1)


def offer_pause_s(offers: int, ack_wait_s: float) -> float:
    """How long it stays away: about four times `ack_wait` over all offers."""
    return ack_wait_s * 0.25 * 2.0**offers


def moved(task: Task, lane: Lane) -> Task:
    """The task on the lane of its actor."""
    return msgspec.structs.replace(task, lane=lane, hop=task.hop + 1)


def snoozed(task: Task) -> Task:
    """The task that asked to run again later."""
    return msgspec.structs.replace(task, hop=task.hop + 1, grants=None)


def start(task: Task, worker: str, at: float, nonce: str, crashes: int, half: str = "") -> Started:
    """The record of a start; `crashes` marked starts of this attempt have no outcome, this one included."""
    return Started(
        id=task.id,
        actor=task.actor,
        attempt=task.attempt,
        worker=worker,
        at=at,
        nonce=nonce,
        crashes=crashes,
        half=half,
        parent=task.parent,
        root=task.root,
        lane=str(task.lane),
        submitted_at=task.submitted_at,
        owner=task.owner,
        tenant=task.tenant,
    )


def _letter(delivery: Delivery, reason: Reason) -> Letter:
    headers = delivery.headers.decode("utf-8", "replace")[: limits.HEADERS_MAX]
    return Letter(reason, delivery.subject, delivery.task.body, headers)
