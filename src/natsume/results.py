"""What the members of a join returned, for its callback: read in pages, so that any number will do."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from natsume.core.join import Join
from natsume.depends import given
from natsume.exceptions import UsageError
from natsume.model.record import Done, Failure, When, child_id, replay_id
from natsume.model.task import State

_PAGE: Final = 200
_WELL: Final = State.COMPLETED
_ANEW: Final = "submit the group again, and discard this callback once it is a dead letter"

ReadJoins = Callable[[Sequence[str]], Awaitable[dict[str, tuple[Join, int]]]]
"""Takes ids of joins, gives those of them that there are with their revisions."""

ReadEnds = Callable[[Sequence[str]], Awaitable[dict[str, Done]]]
"""Takes ids of tasks, gives the done records that stand among theirs."""


class MemberResult(msgspec.Struct, frozen=True):
    """How one member of a join ended; `state` is None if its record has expired."""

    member: int
    id: str
    state: State | None
    result: Any = None
    failure: Failure | None = None


@given
class JoinResults:
    """The results of the children that this callback waited for, in their order: `async for one in results`."""

    def __init__(self, join_id: str | None, joins: ReadJoins, ends: ReadEnds) -> None:
        self._join_id = join_id
        self._joins = joins
        self._ends = ends

    async def __aiter__(self) -> AsyncIterator[MemberResult]:
        """Each member's end; raises UsageError in a task that is no join's callback, and where the results are lost."""
        if self._join_id is None:
            raise UsageError("JoinResults are for the callback of a join; this task is none")
        found = await self._joins([self._join_id])
        if self._join_id not in found:
            raise UsageError(f"the join {self._join_id} is gone, and with it what its members returned: {_ANEW}")
        join, _ = found[self._join_id]
        all_succeeded = join.fired and join.when is When.ALL_SUCCEEDED
        for start in range(0, join.total, _PAGE):
            members = range(start, min(start + _PAGE, join.total))
            ids = [child_id(join.parent, join.first + member) for member in members]
            ends = await self._replayed(await self._ends(ids))
            for member, task_id in zip(members, ids, strict=True):
                done = ends.get(task_id)
                if all_succeeded and (done is None or done.state is not _WELL):
                    raise UsageError(f"what {task_id} returned to the join {join.id} is lost: {_ANEW}")
                if done is None:
                    yield MemberResult(member, task_id, None)
                else:
                    result = msgspec.json.decode(done.result)
                    yield MemberResult(member, task_id, done.state, result, done.failure)

    async def _replayed(self, ends: dict[str, Done]) -> dict[str, Done]:
        """The ends of members, of a failed one that of its latest replay that has ended.

        A broker that was rebuilt does not tell of all of them that they were dead letters.
        """
        latest = dict(ends)
        member_of = {replay_id(done.id): task_id for task_id, done in ends.items() if done.state is not _WELL}
        while member_of:
            found = await self._ends(list(member_of))
            latest.update((member_of[one], done) for one, done in found.items())
            member_of = {replay_id(one): member_of[one] for one, done in found.items() if done.state is not _WELL}
        return latest
