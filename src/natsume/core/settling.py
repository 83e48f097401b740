"""What may become of a dead letter, decided once: a replay under an id of its own, or nothing more.

The decision is recorded with the whole new message before anything is sent, so that whoever comes after
a crash finishes what was begun.
"""

from enum import StrEnum

import msgspec

from natsume.model import limits
from natsume.model.codec import header, task_headers, task_subject
from natsume.model.record import Done, Settled, Submitted, replay_id
from natsume.model.subject import Lane, is_id, parse_lane
from natsume.model.task import Reason, Task


class DeadLetter(msgspec.Struct, frozen=True):
    """A dead letter and what was decided on it, under its `revision`; 0 where nothing was."""

    done: Done
    settled: Settled | None = None
    revision: int = 0

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to do something: nothing was decided, or a replay was begun and not sent."""
        return self.settled is None or (self.settled.message is not None and not self.settled.sent)


class Wanted(msgspec.Struct, frozen=True):
    """Which dead letters are meant: those that agree in all that is given; times are Unix seconds."""

    actor: str | None = None
    reason: Reason | None = None
    tenant: str | None = None
    owner: str | None = None
    after: float | None = None
    before: float | None = None

    def takes(self, done: Done) -> bool:
        """Whether this dead letter is meant."""
        assert done.letter is not None
        named = self.actor is None or self.actor in {done.actor, done.actor.partition(":")[2]}
        of = self.reason in {None, done.letter.reason} and self.tenant in {None, done.tenant}
        at = round(done.finished_at, 6)  # as it is shown, so that what is shown can be given back
        since = self.after is None or at >= self.after
        until = self.before is None or at < self.before
        return named and of and self.owner in {None, done.owner} and since and until


class Order(msgspec.Struct, frozen=True):
    """What somebody wants done with a dead letter: to replay it, or to discard it.

    A `body` replaces the arguments; `actor` and `lane` are for a letter whose subject names no actor.
    """

    who: str
    why: str
    discard: bool = False
    body: bytes | None = None
    actor: str | None = None
    lane: Lane | None = None


class Outcome(StrEnum):
    """What an order comes to."""

    REPLAYED = "replayed"
    DISCARDED = "discarded"
    FINISHED = "finished"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class Verdict(msgspec.Struct, frozen=True):
    """What an order comes to: the task that is the replay, or one sentence that says why there is none."""

    outcome: Outcome
    task: Task | None = None
    sentence: str = ""


def judge(letter: DeadLetter, order: Order, now: float) -> Verdict:
    """What an order on a dead letter comes to, as things stand."""
    settled = letter.settled
    if settled is not None:
        return _judge_again(letter, settled, order)
    if order.discard:
        return Verdict(Outcome.DISCARDED)
    obstacle = _obstacle(letter.done, order)
    if obstacle is not None:
        return Verdict(Outcome.REFUSED, sentence=obstacle)
    return Verdict(Outcome.REPLAYED, _replay(letter.done, order, now))


def _judge_again(letter: DeadLetter, settled: Settled, order: Order) -> Verdict:
    if order.discard and settled.message is None:
        return Verdict(Outcome.UNCHANGED)
    if settled.message is None:
        return Verdict(Outcome.REFUSED, sentence=f"{settled.who} has discarded it")
    if order.discard:
        begun = "" if settled.sent else f"; `natsume dead replay {settled.id}` finishes that"
        return Verdict(Outcome.REFUSED, sentence=f"{settled.who} has replayed it as {settled.replay}{begun}")
    if order.body is not None and order.body != settled.message.body:
        sentence = f"{settled.who} has replayed it with other arguments, as {settled.replay}"
        return Verdict(Outcome.REFUSED, sentence=sentence)
    return Verdict(Outcome.FINISHED if letter.is_open else Outcome.UNCHANGED)


def _obstacle(done: Done, order: Order) -> str | None:
    """Why the letter cannot be replayed like this, in one sentence."""
    assert done.letter is not None
    if not done.actor and order.actor is None:
        return "its subject names no actor: say which with --actor"
    if order.body is not None:
        return None
    size = len(done.letter.body)
    if size > limits.ARGUMENTS_MAX:
        return f"its body has {size} bytes, more than {limits.ARGUMENTS_MAX}: replay it with `natsume dead edit`"
    if done.letter.reason is Reason.UNPARSABLE and not _is_object(done.letter.body):
        return "its body is no JSON object: replay it with `natsume dead edit`"
    return None


def _replay(done: Done, order: Order, now: float) -> Task:
    """The task that replays a letter: a new one in every respect but those that say where it belongs."""
    assert done.letter is not None
    headers = done.letter.headers.encode()
    after = header(headers, b"natsume-after")
    return Task(
        replay_id(done.id),
        done.actor or order.actor or "",
        order.lane if order.lane is not None and not done.actor else parse_lane(done.lane),
        done.letter.body if order.body is None else order.body,
        submitted_at=now,
        tracked=True,
        owner=done.owner,
        tenant=done.tenant,
        parent=done.parent,
        root=done.root,
        join=done.join,
        member=done.member,
        after=after if is_id(after) else None,
        trace=done.trace,
        labels=done.labels,
        replay_of=done.id,
        rights=header(headers, b"natsume-rights") or None,
    )


def settled_of(letter: DeadLetter, order: Order, task: Task | None, nonce: str, now: float) -> Settled:
    """The record of a decision: with a task, that it is the replay, else that the letter is discarded."""
    message = None
    if task is not None:
        message = Submitted(task.id, task.actor, now, task_subject(task), task_headers(task).decode(), task.body)
    return Settled(letter.done.id, nonce, order.who, order.why, now, message, edited=order.body is not None)


def _is_object(body: bytes) -> bool:
    if body in {b"", b"null"}:
        return True
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
