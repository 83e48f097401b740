"""Tasks that wait as schedules in TASKS: for a time, or in the line of a lock (port Waiting)."""

from collections.abc import Sequence
from typing import Final

from natsume.adapters.nats.direct import DirectReader, Stored
from natsume.adapters.nats.request import Request
from natsume.model import status
from natsume.model.subject import TASKS
from natsume.model.task import Task
from natsume.ports import Hop

_PAGE: Final = 200
_DELETE: Final = f"$JS.API.STREAM.MSG.DELETE.{TASKS}"


class StreamWaiting:
    """The schedules of single tasks."""

    def __init__(self, tasks: DirectReader, request: Request) -> None:
        self._tasks = tasks
        self._request = request

    async def hops(self, task_ids: Sequence[str]) -> dict[str, list[Hop]]:
        """The schedules that will bring tasks back, the latest hop first; of a task almost always at most one."""
        found: dict[str, list[Hop]] = {}
        for at in range(0, len(task_ids), _PAGE):
            names = [name for task_id in task_ids[at : at + _PAGE] for name in names_of(task_id)]
            for stored in await self._tasks.last(names):
                task = task_of(stored)
                if task is not None:
                    found.setdefault(task.id, []).append(Hop(task, stored.sequence))
        return {task_id: sorted(hops, key=lambda hop: -hop.task.hop) for task_id, hops in found.items()}

    async def remove(self, hops: Sequence[Hop]) -> None:
        """Remove these very schedules; one that has fired is gone already."""
        for hop in hops:
            await self._request(_DELETE, b'{"seq":%d,"no_erase":true}' % hop.sequence)


def names_of(task_id: str) -> list[str]:
    """Where the schedules of a task lie."""
    return [f"later.{task_id}.*", f"parked.*.*.{task_id}.*"]


def task_of(stored: Stored) -> Task | None:
    """The task of a schedule as it was written; None of one that leads to no lane."""
    target = stored.headers.get("Nats-Schedule-Target", "")
    lines = "".join(f"{name}: {value}\r\n" for name, value in stored.headers.items() if not name.startswith("Nats-"))
    kind, *tokens = stored.subject.split(".")
    try:
        return status.message(tokens[2] if kind == "parked" else tokens[0], target, lines, stored.body)
    except (KeyError, IndexError):
        return None
