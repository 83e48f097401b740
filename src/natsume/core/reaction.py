"""What follows from done records: the joins that they open, the tasks that they submit, the arrivals that they are.

Laws, each held by the simulation: joins come before children, so that no member arrives where nothing
counts it; a callback is submitted before its join says so; a record is acknowledged last. Any prefix
of a reaction followed by the same reaction from its beginning is safe.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from natsume.core.join import Arrival, Join, arrive, failure_is_due, is_due
from natsume.model import limits
from natsume.model.record import Child, Chunk, Done, Place
from natsume.model.subject import parse_lane
from natsume.model.task import State, Task


class Due(msgspec.Struct, frozen=True):
    """A task, when it is due (Unix seconds, None for now), and the place that it is to take if it is unique."""

    task: Task
    at: float | None = None
    place: Place | None = None


class OpenJoins(msgspec.Struct, frozen=True):
    """Store these joins, unless they are there."""

    joins: tuple[Join, ...]


class ReadChunk(msgspec.Struct, frozen=True):
    """Read a chunk that the done record of this run names. Answered with it, or None."""

    id: str
    nonce: str
    number: int


class MissChunk(msgspec.Struct, frozen=True):
    """A chunk is not there: begin again, or, where `again` says that this has been done, tell and go on."""

    id: str
    number: int
    again: bool


class Submit(msgspec.Struct, frozen=True):
    """Store tasks on their lanes; `resent` ones are looked up before they run."""

    tasks: tuple[Task, ...]
    resent: bool


class SubmitUnique(msgspec.Struct, frozen=True):
    """Take in those whose places are free, and end the others as duplicates."""

    tasks: tuple[Due, ...]


class Arm(msgspec.Struct, frozen=True):
    """Store a task to be delivered at a time."""

    task: Task
    at: float


class ReadJoins(msgspec.Struct, frozen=True):
    """Read joins. Answered with those that there are and their revisions, by id."""

    ids: tuple[str, ...]


class UpdateJoin(msgspec.Struct, frozen=True):
    """Store a join over this revision. Answered with the new one, or None if it has changed meanwhile."""

    join: Join
    revision: int


class MissJoin(msgspec.Struct, frozen=True):
    """A join is not there, and so many arrivals lead nowhere."""

    id: str
    arrivals: int


class PurgeChunks(msgspec.Struct, frozen=True):
    """Remove the chunks of all runs of a task: their children are submitted, or never will be."""

    id: str


class Acknowledge(msgspec.Struct, frozen=True):
    """Say of the record at this place of the batch that all that follows from it is stored."""

    place: int


Effect = (
    OpenJoins
    | ReadChunk
    | MissChunk
    | Submit
    | SubmitUnique
    | Arm
    | ReadJoins
    | UpdateJoin
    | MissJoin
    | PurgeChunks
    | Acknowledge
)
Reaction = Generator[Effect, Any, None]
"""Effects in order, each sent the answer to it; whoever gets no answer begins a new one, `again`."""

_Arrivals = dict[str, list[Arrival]]


def react(batch: Sequence[Done | None], suspect: Callable[[int], bool], *, again: bool) -> Reaction:
    """What follows from a batch of records; None stands for one that cannot be read.

    `suspect` says of a place, whenever it is asked, whether another may have reacted to that record.
    """
    arrivals: _Arrivals = {}
    for place, done in enumerate(batch):
        if done is None:
            continue
        if done.groups:
            joins = joins_of(done)
            yield OpenJoins(tuple(joins))
            arrivals.update((join.id, []) for join in joins if not join.total)
        yield from _submit_children(place, done, suspect, again)
        arrival = arrival_of(done)
        if arrival is not None:
            arrivals.setdefault(arrival.join, []).append(arrival)
    yield from _fold(arrivals)
    for place, done in enumerate(batch):
        if done is not None and done.chunks:
            yield PurgeChunks(done.id)
        yield Acknowledge(place)


def _submit_children(place: int, done: Done, suspect: Callable[[int], bool], again: bool) -> Reaction:
    for number in range(done.chunks):
        chunk: Chunk | None = yield ReadChunk(done.id, done.nonce, number)
        if chunk is None:
            # Purged after a reaction that was not acknowledged, or gone for good: it must not hold up others.
            yield MissChunk(done.id, number, again)
            continue
        yield from _submit(tasks_of(done, chunk.children), lambda: again or suspect(place))
    yield from _submit(tasks_of(done, done.children), lambda: again or suspect(place))


def _submit(tasks: Iterable[Due], resent: Callable[[], bool]) -> Reaction:
    ready, unique = [], []
    for due in tasks:
        if due.place is not None:
            unique.append(due)
        elif due.at is None:
            ready.append(due.task)
        else:
            yield Arm(due.task, due.at)
    if ready:
        yield Submit(tuple(ready), resent())
    if unique:
        yield SubmitUnique(tuple(unique))


def _fold(arrivals: _Arrivals) -> Reaction:
    """One compare-and-set a join, however many members arrived; again where another was faster."""
    waiting, called = dict(arrivals), set[str]()
    while waiting:
        found: dict[str, tuple[Join, int]] = yield ReadJoins(tuple(waiting))
        for join_id in list(waiting):
            if join_id not in found:
                yield MissJoin(join_id, len(waiting.pop(join_id)))
            elif (yield from _fold_one(*found[join_id], waiting[join_id], called)):
                del waiting[join_id]


def _fold_one(join: Join, revision: int, arrivals: list[Arrival], called: set[str]) -> Generator[Effect, Any, bool]:
    """Count, then fire: a complete join that has not fired does, also where nothing new arrived.

    `called` are the joins whose callbacks were submitted here: they have fired, also where they were cancelled since.
    """
    after = arrive(join, arrivals)
    if after != join:
        counted: int | None = yield UpdateJoin(after, revision)
        if counted is None:
            return False
        revision = counted
    told = after
    # A crash between the callback and its flag repeats the callback, under the id that it had.
    if failure_is_due(after):
        assert after.on_failure is not None
        yield from _call(after, after.on_failure)
        told = replace(told, failure_told=True)
    result = next((one.result for one in arrivals if one.succeeded), None)
    # Without the result another record is on its way that has it: one that was counted, and not acknowledged.
    if is_due(after) and join.id not in called and (after.callback.takes is None or result is not None):
        yield from _call(after, after.callback, result)
        called.add(join.id)
    told = replace(told, fired=told.fired or join.id in called)
    return told == after or (yield UpdateJoin(told, revision)) is not None


def _call(join: Join, callback: Child, result: msgspec.Raw | None = None) -> Reaction:
    # Another reactor may have sent it already: as resent it is looked up before it runs.
    yield from _submit([callback_of(join, callback, result)], lambda: True)


def joins_of(done: Done) -> list[Join]:
    """The joins that a parent's commit opens."""
    return [
        Join(
            group.join,
            done.id,
            group.first,
            group.total,
            group.callback,
            done.finished_at,
            on_failure=group.on_failure,
            when=group.when,
            owner=done.owner,
            tenant=done.tenant,
            root=done.root or done.id,
            trace=done.trace,
            chained=group.chained,
        )
        for group in done.groups
    ]


def tasks_of(done: Done, children: Iterable[Child]) -> list[Due]:
    """The children of a parent as tasks; the parent's owner, tenant, root and trace go on to them."""
    return [Due(_task(child, done.id, done.root or done.id, done), child.at, child.place) for child in children]


def callback_of(join: Join, child: Child, result: msgspec.Raw | None = None) -> Due:
    """A join's callback, or its failure callback, as a task that knows its join, and has the result if it takes it."""
    task = _task(child, join.parent, join.root or join.parent, join)
    if child.takes is not None and result is not None:
        task = replace(task, body=_filled(task.body, child.takes, result))
    return Due(replace(task, after=join.id), child.at, child.place)


def _filled(body: bytes, name: str, result: msgspec.Raw) -> bytes:
    """Arguments with one that was not known before; too large ones are cut, and are refused where they are read."""
    arguments = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return msgspec.json.encode(arguments | {name: result})[: limits.ARGUMENTS_MAX + 1]


def arrival_of(done: Done) -> Arrival | None:
    """The arrival at a join that a done record is, if its task was a member of one."""
    if done.join is None or done.member is None:
        return None
    return Arrival(done.join, done.member, done.state is State.COMPLETED, done.result)


def _task(child: Child, parent: str, root: str, origin: Done | Join) -> Task:
    return Task(
        child.id,
        child.actor,
        parse_lane(child.lane),
        bytes(child.arguments),
        parent=parent,
        root=root,
        join=child.join,
        member=child.member,
        tracked=child.tracked or origin.owner is not None,
        owner=origin.owner,
        tenant=origin.tenant,
        trace=origin.trace,
        labels=child.labels,
        rights=child.rights,
    )
