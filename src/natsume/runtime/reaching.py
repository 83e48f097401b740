"""What a running task reaches of the world: children, what it says, locks, results; wherever its code runs."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple, Protocol

from natsume.actors.registry import Registry
from natsume.binding import Locker
from natsume.children import Children, Submit
from natsume.model.record import Chunk
from natsume.model.task import Task
from natsume.results import JoinResults, ReadEnds, ReadJoins
from natsume.runtime.execute import Ended, execute
from natsume.runtime.holder import Holder
from natsume.runtime.opening import given
from natsume.runtime.run import Run
from natsume.runtime.telling import Telling
from natsume.runtime.watch import Watch
from natsume.runtime.worker_ports import Ports
from natsume.service.tracking import track


class Reach(NamedTuple):
    """All that the runs of one process reach, made once; `now` is the broker's clock.

    `write_chunk` takes a run, the number of one of its chunks and the chunk; `locker` gives what takes locks for a run.
    """

    registry: Registry
    submit: Submit
    write_chunk: Callable[[Run, int, Chunk], Awaitable[None]]
    telling: Telling
    locker: Callable[[Run], Locker]
    read_joins: ReadJoins
    read_ends: ReadEnds
    now: Callable[[], float]


class Execution(Protocol):
    """How the actor of a run is run, in this loop or in a process of its own, to an end that is an event."""

    def __call__(self, run: Run, reach: Reach) -> Coroutine[Any, Any, Ended]:
        """Run it."""
        ...


def in_this_loop(run: Run, reach: Reach) -> Coroutine[Any, Any, Ended]:
    """Run it on the event loop that runs here."""
    children = children_of(run, reach)
    supplies: dict[type, Any] = {}
    actor = run.actor
    if actor is not None and not actor.plan.empty:  # most tasks ask for nothing
        supplies = given(run, actor, children, JoinResults(run.delivery.task.after, reach.read_joins, reach.read_ends))
    return execute(run, children, supplies, reach.now, reach.locker(run))


def children_of(run: Run, reach: Reach) -> Children:
    """What collects the children of a run."""
    write_chunk, control = partial(reach.write_chunk, run), partial(reach.telling.control, run)
    return Children(reach.registry, run.delivery.task, reach.submit, write_chunk, control)


class Reaching:
    """What the runs of one worker reach."""

    def __init__(self, ports: Ports, registry: Registry, watch: Watch) -> None:
        self._ports = ports
        self._watch = watch
        self.reach = Reach(
            registry,
            self._submit,
            self._write_chunk,
            Telling(ports.records.tell, ports.now),
            self._locker,
            ports.joins.read,
            ports.inquiries.ends,
            ports.now,
        )

    def _locker(self, run: Run) -> Locker:
        ports = self._ports
        return Holder(ports.leases, run, self._watch, ports.now, ports.of_block)

    async def _write_chunk(self, run: Run, number: int, chunk: Chunk) -> None:
        await self._ports.chunks.write(run.delivery.task.id, run.nonce, number, chunk)

    async def _submit(self, task: Task, due: float | None) -> None:
        outgoing = self._ports.outgoing
        await track(outgoing, [task], self._ports.now(), due)
        if due is None:
            await outgoing.submit(task, resent=True)
        else:
            await outgoing.arm(task, due)
