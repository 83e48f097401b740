"""What a submission does about a claim that it meets."""

import hashlib
from enum import Enum

import msgspec

from natsume.model.claim import Claim, Unique
from natsume.model.record import Place
from natsume.model.subject import encode
from natsume.model.task import ENDED, State, Task


class Answer(Enum):
    """What to do: submit, report the holder, send the holder's message again and report it, or free and try again."""

    OURS = "ours"
    HELD = "held"
    HELP = "help"
    FREE = "free"


def key_of(task: Task, unique: Unique) -> str:
    """The key of a task's claim: readable by its actor, the same for what counts as the same task.

    Arguments count in the order of their names, all the way down; a tenant's tasks are its own.
    """
    content = msgspec.json.encode(msgspec.json.decode(task.body), order="sorted")
    same = (unique.by, task.tenant, task.id if unique.by == "id" else content.decode())
    digest = hashlib.blake2b(msgspec.json.encode(same), digest_size=16).hexdigest()
    return f"{encode(task.actor)}-{digest}"


def place_of(task: Task, unique: Unique | None) -> Place | None:
    """The place that a task of a derived id is to take; None where its id alone makes it one task."""
    if unique is None or unique.by == "id":
        return None
    return Place(key_of(task, unique), unique.period_s)


def answer(claim: Claim, nonce: str, holder: State | None) -> Answer:
    """What a submission with this nonce does; `holder` is what is known of the task that holds the claim.

    A holder of which nothing tells that it started may never have been sent: its submitter may have died.
    """
    if claim.nonce == nonce:
        return Answer.OURS
    if holder in ENDED:
        return Answer.HELD if claim.period_s is not None else Answer.FREE
    return Answer.HELP if holder in {None, State.ALLOCATED, State.ENQUEUED} else Answer.HELD
