"""What follows from a done record, as values: joins to open, tasks to submit, an arrival to count.

Joins come before children, so that no member can arrive where nothing counts it.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from natsume.core.join import Arrival, Join
from natsume.model.record import Child, Done
from natsume.model.subject import parse_lane
from natsume.model.task import State, Task

Due = tuple[Task, float | None]
"""A task and when it is due, in Unix seconds; None for now."""


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
        )
        for group in done.groups
    ]


def tasks_of(done: Done, children: Iterable[Child]) -> list[Due]:
    """The children of a parent as tasks; the parent's owner, tenant, root and trace go on to them."""
    return [(_task(child, done.id, done.root or done.id, done), child.at) for child in children]


def callback_of(join: Join, child: Child) -> Due:
    """A join's callback, or its failure callback, as a task that knows its join."""
    task = _task(child, join.parent, join.root or join.parent, join)
    return replace(task, after=join.id), child.at


def arrival_of(done: Done) -> Arrival | None:
    """The arrival at a join that a done record is, if its task was a member of one."""
    if done.join is None or done.member is None:
        return None
    return Arrival(done.join, done.member, done.state is State.COMPLETED)


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
        owner=origin.owner,
        tenant=origin.tenant,
        trace=origin.trace,
        labels=child.labels,
    )
