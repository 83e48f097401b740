"""What `schedule()` does inside a task: children are collected, and follow from its commit."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

import msgspec

from natsume.exceptions import UsageError
from natsume.model import limits
from natsume.model.record import Child
from natsume.model.task import Task
from natsume.registry import Registry

Submit = Callable[[Task, float | None], Awaitable[None]]
"""Takes a task and when it is due (Unix seconds, None for now)."""


def child_id(parent_id: str, index: int) -> str:
    """The id of a parent's child, the same at every attempt: 32 hex digits."""
    return hashlib.blake2b(f"{parent_id}/{index}".encode(), digest_size=16).hexdigest()


class Children:
    """The scheduler that is bound while one task runs."""

    __slots__ = ("_count", "_parent", "_registry", "_size", "_submit", "collected")

    def __init__(self, registry: Registry, parent: Task, submit: Submit) -> None:
        self._registry = registry
        self._parent = parent
        self._submit = submit
        self._count = 0
        self._size = 0
        self.collected: list[Child] = []

    async def schedule(self, task: object, *, at: datetime | None, labels: Mapping[str, str] | None, now: bool) -> str:
        """Take a child; it becomes visible with the parent's commit, or at once with `now`."""
        actor = self._registry.of(task)
        body = actor.arguments.check(task)
        child = Child(
            child_id(self._parent.id, self._count),
            actor.name,
            str(actor.lane),
            msgspec.Raw(body),
            at.timestamp() if at else None,
            dict(labels) if labels else None,
        )
        self._count += 1
        if now:
            await self._submit(self._task(child, body), child.at)
            return child.id
        self._size += len(msgspec.json.encode(child))
        if self._size > limits.CHILDREN_IN_RECORD_MAX:
            raise UsageError(
                f"{self._parent.actor}: {self._count} children need {self._size} bytes in its done record, "
                f"which holds {limits.CHILDREN_IN_RECORD_MAX}; schedule fewer or smaller ones from one task"
            )
        self.collected.append(child)
        return child.id

    def _task(self, child: Child, body: bytes) -> Task:
        parent = self._parent
        return Task(
            child.id,
            child.actor,
            self._registry.find(child.actor).lane,
            body,
            parent=parent.id,
            root=parent.root or parent.id,
            owner=parent.owner,
            tenant=parent.tenant,
            trace=parent.trace,
            labels=child.labels,
        )
