"""What an event becomes for one actor: a task, a dead letter, or nothing where the actor declines it."""

import hashlib

from natsume.core import outcome
from natsume.core.delivery import Delivery
from natsume.model.codec import task_headers, task_subject
from natsume.model.event import Envelope
from natsume.model.record import Done
from natsume.model.subject import Lane
from natsume.model.task import Fault, Task

EVENT_LABEL = "event"
"""The label of a task under which stands the type of its event."""


def task_id(event_type: str, event_id: str, actor: str) -> str:
    """The id of the one task of an event and an actor: 32 hex digits.

    The type belongs to it, so that a service may call all events of job 7 by the id 7.
    """
    return hashlib.blake2b(f"{event_type}/{event_id}/{actor}".encode(), digest_size=16).hexdigest()


def task_of(event: Envelope, actor: str, lane: Lane, body: bytes, *, tracked: bool) -> Task:
    """The task of an event, with the arguments that the actor made of it."""
    return Task(
        task_id(event.type, event.id, actor),
        actor,
        lane,
        body,
        submitted_at=event.at,
        tracked=tracked,
        trace=event.trace,
        labels={EVENT_LABEL: event.type},
    )


def dead_letter_of(event: Envelope, actor: str, lane: Lane, fault: Fault, worker: str, nonce: str, at: float) -> Done:
    """The done record of an event that does not fit: the letter's body is the event's data.

    Its subject is the task's, so that a corrected body can be replayed to this actor alone.
    """
    task = task_of(event, actor, lane, event.body, tracked=True)
    headers = b"NATS/1.0\r\n%b\r\n" % task_headers(task)
    said = Fault(fault.reason, f"event {event.type}: {fault.sentence}")
    delivery = Delivery(task, b"", 0, headers=headers, subject=task_subject(task))
    return outcome.dead(delivery, worker, nonce, said, at)


def may_be_known(sequence: int, alone: bool, resent: bool, *, suspect_to: int) -> bool:
    """Whether a task of this event may have been submitted before, so that the records are asked.

    `alone` says that surely nobody else has been brought it; `suspect_to` is the last event that was
    stored before the broker's present run, or before the consumer was made anew from its kept position.
    """
    return resent or not alone or sequence <= suspect_to
