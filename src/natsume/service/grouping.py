"""What a service submits as one: a group or a flow, there whole or not at all, as the commit of a parent."""

import os
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

from natsume.actors.registry import Registry
from natsume.children import Children
from natsume.enums import Priority, Size
from natsume.flows import Flow
from natsume.model.record import Done, When
from natsume.model.subject import Lane
from natsume.model.task import State, Task
from natsume.ports import Chunks, Records
from natsume.service.insist import insist
from natsume.service.submission import check_whose

_GROUP: Final = "natsume:Group"
_GROUP_LANE: Final = Lane(Priority.NORMAL, Size.SMALL)


class Grouping:
    """Commits parents that did nothing but have children."""

    def __init__(
        self, records: Records, chunks: Chunks, registry: Callable[[], Registry], now: Callable[[], float]
    ) -> None:
        self._records = records
        self._chunks = chunks
        self._registry = registry
        self._now = now

    async def spawn(self, flow: Flow, owner: str | None, tenant: str | None) -> str:
        """Submit a flow; the id of its last task, or of the parent of its tasks."""
        return await self._commit(lambda taken: taken.spawn(flow), owner, tenant)

    async def spawn_with_callback(
        self,
        children: Iterable[object],
        callback: object,
        on_failure: object | None,
        when: When,
        owner: str | None,
        tenant: str | None,
    ) -> str:
        """Submit a group and its callback; the id of their join."""
        return await self._commit(
            lambda taken: taken.spawn_with_callback(children, callback, on_failure=on_failure, when=when), owner, tenant
        )

    async def _commit(self, take: Callable[[Children], Awaitable[str]], owner: str | None, tenant: str | None) -> str:
        check_whose("the group", owner, tenant)
        now = self._now()
        parent = Task(os.urandom(16).hex(), _GROUP, _GROUP_LANE, b"{}", submitted_at=now, owner=owner, tenant=tenant)
        nonce = os.urandom(6).hex()
        taken = Children(self._registry(), parent, _never, partial(self._chunks.write, parent.id, nonce))
        named = await take(taken)
        done = Done(
            parent.id,
            parent.actor,
            State.COMPLETED,
            nonce,
            "client",
            1,
            now,
            now,
            children=tuple(taken.collected),
            chunks=taken.chunks,
            groups=tuple(taken.groups),
            owner=owner,
            tenant=tenant,
        )
        await insist(lambda _: self._records.commit(done))
        return named


async def _never(_task: Task, _due: float | None) -> None:
    """What submits children at once: nothing, they follow from the commit."""
