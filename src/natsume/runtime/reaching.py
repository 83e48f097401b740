"""What a running task reaches of the world: children, what it says, locks, results; wherever its code runs."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from natsume.actors.registry import Registry
from natsume.binding import Locker
from natsume.children import Children, Submit, WriteChunk
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
    """All that one run reaches; `now` is the broker's clock."""

    registry: Registry
    submit: Submit
    write_chunk: WriteChunk
    telling: Telling
    locker: Locker
    read_joins: ReadJoins
    read_ends: ReadEnds
    now: Callable[[], float]


class Execution(Protocol):
    """How the actor of a run is run, in this loop or in a process of its own, to an end that is an event."""

    async def __call__(self, run: Run, reach: Reach) -> Ended:
        """Run it."""
        ...


async def in_this_loop(run: Run, reach: Reach) -> Ended:
    """Run it on the event loop that runs here."""
    control = partial(reach.telling.control, run)
    task = run.delivery.task
    children = Children(reach.registry, task, reach.submit, reach.write_chunk, control)
    results = JoinResults(task.after, reach.read_joins, reach.read_ends)
    return await execute(run, children, given(run, children, results), reach.now, reach.locker)


class Reaching:
    """Makes what the runs of one worker reach."""

    def __init__(self, ports: Ports, registry: Registry, watch: Watch) -> None:
        self._ports = ports
        self._registry = registry
        self._watch = watch
        self._telling = Telling(ports.records.tell, ports.now)

    def of(self, run: Run) -> Reach:
        """What a run reaches."""
        ports = self._ports
        write_chunk = partial(ports.chunks.write, run.delivery.task.id, run.nonce)
        locker = Holder(ports.leases, run, self._watch, ports.now, ports.of_block)
        return Reach(
            self._registry,
            self._submit,
            write_chunk,
            self._telling,
            locker,
            ports.joins.read,
            ports.inquiries.ends,
            ports.now,
        )

    async def _submit(self, task: Task, due: float | None) -> None:
        outgoing = self._ports.outgoing
        await track(outgoing, [task], self._ports.now(), due)
        if due is None:
            await outgoing.submit(task, resent=True)
        else:
            await outgoing.arm(task, due)
