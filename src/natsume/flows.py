"""Tasks that are submitted as one: a chain, a group, a map over many values; made of children and joins.

await chain(Fetch(url), Parse(), Store("archive")).schedule()
await chain(map(Resize, names, chunk=100), Publish()).schedule()
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from natsume.base_task import BaseTask, field_names
from natsume.binding import current
from natsume.exceptions import UsageError
from natsume.threads import needs_loop

__all__ = ["Flow", "chain", "group", "map"]


class Flow:
    """A first step, of one task or of many at once, and the tasks that follow, each after all of the step before it."""

    __slots__ = ("first", "is_group", "then")

    def __init__(self, first: Iterable[BaseTask], then: tuple[BaseTask, ...] = (), *, is_group: bool) -> None:
        self.first = first
        self.then = then
        self.is_group = is_group

    @needs_loop
    async def schedule(self) -> str:
        """Submit it with the bound client, inside `execute` for the task's commit; the id of its last task.

        Of a group alone, the id of the task whose children its tasks are.
        """
        return await current().spawn(self)


def chain(*links: BaseTask | Flow) -> Flow:
    """Each task after the one before it has succeeded; an actor that declares `takes_result` gets what that returned.

    A link may be a chain itself; the first may be a group or a map. Where a link fails for good the later ones wait
    for its replay.
    """
    if not links:
        raise UsageError("chain() takes at least one task")
    first, *others = links
    head = first if isinstance(first, Flow) else Flow((_task(first),), is_group=False)
    return Flow(head.first, (*head.then, *_following(others)), is_group=head.is_group)


def group(*tasks: BaseTask) -> Flow:
    """All of these tasks at once; in a chain the next one comes after all of them, and asks for `JoinResults`."""
    return Flow(tuple(_task(one) for one in tasks), is_group=True)


def map(  # noqa: A001 - what it is to people; the module's name tells it from the builtin
    actor: type[BaseTask], values: Iterable[Any], /, *, chunk: int | None = None, **arguments: Any
) -> Flow:
    """A group of one task for each value, or with `chunk` one for each list of so many values.

    The value is the first argument that is not among the `arguments`, which all get. Values are drawn while the tasks
    are taken, so that memory stays bounded however many there are; a flow of a generator is scheduled once.
    """
    free = next((name for name in field_names(actor) if name not in arguments), None)
    if free is None:
        raise UsageError(f"map(): {actor.__name__} has no argument left for the values")
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
        raise UsageError(f"map(): chunk is {chunk!r}; set it to a whole number from 1 on, or None")
    parts = values if chunk is None else _parts(iter(values), chunk)
    return Flow((actor(**arguments, **{free: part}) for part in parts), is_group=True)


def _following(links: Iterable[BaseTask | Flow]) -> Iterable[BaseTask]:
    for link in links:
        if not isinstance(link, Flow):
            yield _task(link)
        elif link.is_group:
            raise UsageError("a group stands first in a chain: let a task of the chain schedule the group itself")
        else:
            yield from (*link.first, *link.then)


def _parts(values: Any, size: int) -> Iterable[list[Any]]:
    while part := list(itertools.islice(values, size)):
        yield part


def _task(link: object) -> BaseTask:
    if not isinstance(link, BaseTask):
        raise UsageError(f"{link!r} is no task: a flow is made of tasks, such as chain(Fetch(url), Parse())")
    return link
