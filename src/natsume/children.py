"""What `schedule()` does inside a task: children are collected, and follow from its commit."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec
from msgspec.structs import replace

from natsume.actors.registry import Registry
from natsume.control import TaskControl
from natsume.core.claim import place_of
from natsume.exceptions import UsageError
from natsume.flows import Flow
from natsume.model import limits
from natsume.model.labels import checked_labels
from natsume.model.record import Child, Chunk, Group, When, child_id
from natsume.model.task import Task

Submit = Callable[[Task, float | None], Awaitable[None]]
"""Takes a task and when it is due (Unix seconds, None for now)."""

WriteChunk = Callable[[int, Chunk], Awaitable[None]]
"""Takes the number of a chunk of this run, and the chunk."""


class Children:
    """The scheduler that is bound while one task runs; memory is bounded, for chunks are written as they fill."""

    def __init__(
        self,
        registry: Registry,
        parent: Task,
        submit: Submit,
        write_chunk: WriteChunk,
        control: Callable[[], TaskControl] | None = None,
    ) -> None:
        """`control` gives the control of the task that runs."""
        self.control = control
        self._registry = registry
        self._parent = parent
        self._submit = submit
        self._write_chunk = write_chunk
        self._count = 0
        self._size = 0
        self._groups_size = 0
        self.chunks = 0
        self.collected: list[Child] = []
        self.groups: list[Group] = []
        # A group's indices are in a row, and chunks in their order, also where a task gathers several calls.
        self._turn = asyncio.Lock()

    async def schedule(
        self,
        task: object,
        *,
        at: datetime | None,
        labels: Mapping[str, str] | None,
        now: bool,
        session: object = None,
    ) -> str:
        """Take a child; it becomes visible with the parent's commit, or at once with `now`."""
        if session is not None:
            raise UsageError("inside execute() children follow from the task's commit: leave out session=")
        async with self._turn, self._whole_or_not():
            child = self._child(task, at, labels)
            if not now:
                await self._collect(child)
            elif child.place is not None:
                raise UsageError(f"{child.actor} is unique: its place is taken after the commit, not with now=True")
        if now:
            # No commit names it: tracked like its parent, it is found by its own record.
            message = self._task(child)
            await self._submit(replace(message, tracked=message.tracked or self._parent.tracked), child.at)
        return child.id

    async def spawn_with_callback(
        self,
        children: Iterable[object],
        callback: object,
        *,
        on_failure: object | None = None,
        when: When = When.ALL_SUCCEEDED,
    ) -> str:
        """Take children and what is to run once after all of them; the id of their join."""
        async with self._turn, self._whole_or_not():
            return await self._spawn(children, callback, on_failure, when)

    async def spawn(self, flow: Flow) -> str:
        """Take a flow: a join after each step that another follows; the id of its last task, or the parent's."""
        async with self._turn, self._whole_or_not():
            return await self._flow(flow)

    async def _flow(self, flow: Flow) -> str:
        first, opened = self._count, len(self.groups)
        joins = [child_id(self._parent.id, f"join-{opened + number}") for number in range(len(flow.then))]
        for member, task in enumerate(flow.first):
            child = self._child(task, None, None)
            await self._collect(replace(child, join=joins[0], member=member) if joins else child)
        total, last = self._count - first, child_id(self._parent.id, first)
        if not joins:
            return self._parent.id if flow.is_group else last
        self._bound_members(total)
        for number, task in enumerate(flow.then):
            link = self._link(task, after_group=flow.is_group and not number)
            if number + 1 < len(joins):
                link = replace(link, join=joins[number + 1], member=0)
            self._add(Group(joins[number], total, first, link, chained=number > 0))
            first, total, last = self._count - 1, 1, link.id
        return last

    def _link(self, task: object, *, after_group: bool) -> Child:
        """A task that follows, and takes the result before it if its actor says so."""
        takes = self._registry.of(task).takes_result
        if takes is not None and after_group:
            name = self._registry.of(task).name
            raise UsageError(f"{name} takes the result of one task, and follows a group: ask for JoinResults instead")
        return replace(self._child(task, None, None), takes=takes)

    def _bound_members(self, total: int) -> None:
        if total > limits.MEMBERS_MAX:
            raise UsageError(f"{self._parent.actor}: a group of {total} is too large; {limits.MEMBERS_MAX} is the most")

    async def _spawn(self, children: Iterable[object], callback: object, on_failure: object | None, when: When) -> str:
        join, first = child_id(self._parent.id, f"join-{len(self.groups)}"), self._count
        for member, task in enumerate(children):
            await self._collect(replace(self._child(task, None, None), join=join, member=member))
        total = self._count - first
        self._bound_members(total)
        alarm = self._callback(on_failure, join, "failure") if on_failure is not None else None
        self._add(Group(join, total, first, self._callback(callback, join, "callback"), alarm, _checked(when)))
        return join

    @asynccontextmanager
    async def _whole_or_not(self) -> AsyncIterator[None]:
        """Forget what a call that raises has taken, so that a task that catches it commits none of it.

        A chunk that it wrote is named by no record, or written over under its number.
        """
        counts = self._count, self._size, self._groups_size, self.chunks
        collected, length, groups = self.collected, len(self.collected), len(self.groups)
        try:
            yield
        except BaseException:
            del collected[length:], self.groups[groups:]
            self.collected = collected
            self._count, self._size, self._groups_size, self.chunks = counts
            raise

    def _add(self, group: Group) -> None:
        self._groups_size += len(msgspec.json.encode(group))
        if self._groups_size > limits.GROUPS_MAX:
            raise UsageError(
                f"{self._parent.actor}: its {len(self.groups) + 1} groups take {self._groups_size} bytes of its done "
                f"record, which holds {limits.GROUPS_MAX}; spawn fewer groups or give their callbacks less"
            )
        self.groups.append(group)

    def _callback(self, task: object, join: str, name: str) -> Child:
        # Its id comes from the join's, so that it does not move when other children are added.
        child = replace(self._child(task, None, None), id=child_id(join, name))
        self._count -= 1
        return child

    def _child(self, task: object, at: datetime | None, labels: Mapping[str, str] | None) -> Child:
        actor = self._registry.of(task)
        child = Child(
            child_id(self._parent.id, self._count),
            actor.name,
            str(actor.lane),
            msgspec.Raw(actor.arguments.check(task)),
            at.timestamp() if at else None,
            checked_labels(labels),
            tracked=actor.dlq_eligible,
            rights=actor.rights,
        )
        self._count += 1
        place = place_of(self._task(child), actor.unique) if actor.unique is not None else None
        return replace(child, place=place) if place is not None else child

    async def _collect(self, child: Child) -> None:
        self.collected.append(child)
        self._size += len(child.arguments) + _OVERHEAD + (len(str(child.labels)) if child.labels else 0)
        if self._size >= limits.CHUNK_MAX:
            chunk, self.collected, self._size = Chunk(tuple(self.collected)), [], 0
            await self._write_chunk(self.chunks, chunk)
            self.chunks += 1

    def _task(self, child: Child) -> Task:
        parent = self._parent
        return Task(
            child.id,
            child.actor,
            self._registry.find(child.actor).lane,
            bytes(child.arguments),
            parent=parent.id,
            root=parent.root or parent.id,
            owner=parent.owner,
            tenant=parent.tenant,
            trace=parent.trace,
            labels=child.labels,
            tracked=child.tracked or parent.owner is not None,
            rights=child.rights,
        )


def _checked(when: When) -> When:
    try:
        return When(when)
    except ValueError:
        raise UsageError(f"when={when!r} cannot be; use When.ALL_SUCCEEDED or When.ALL_DONE") from None


_OVERHEAD = 200
"""What a child's id, actor, lane and join take in a record beside its arguments, about."""
