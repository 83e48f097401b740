"""Tasks on their way to the lanes, in a worker's hands and afterwards."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from natsume.core.delivery import Boot, Delivery
from natsume.model.record import Done, Submitted
from natsume.model.status import Status
from natsume.model.subject import Lane
from natsume.model.task import Task
from natsume.model.told import Flag


class Deliveries(Protocol):
    """The lanes as one worker sees them."""

    def pull(self, lane: Lane, count: int) -> None:
        """Ask for `count` more deliveries of a lane, whenever there are any."""
        ...

    def outstanding(self, lane: Lane) -> int:
        """Deliveries of a lane that were asked for and have not come."""
        ...

    def acknowledge(self, *deliveries: Delivery) -> None:
        """Say that deliveries are dealt with: of all of them, or of none."""
        ...

    def give_back(self, delivery: Delivery) -> None:
        """Have it delivered again, now, to whoever pulls."""
        ...

    async def close(self, refuse: Callable[[Delivery], None]) -> None:
        """End all pulls; what still arrives goes to `refuse`."""
        ...


class Outgoing(Protocol):
    """Tasks on their way to the lanes."""

    async def submit(self, task: Task, *, resent: bool = False) -> bool:
        """Store a task on its lane, now; False if the broker knew its id already."""
        ...

    async def submit_many(self, tasks: Iterable[Task], *, resent: bool = False) -> None:
        """Store many tasks, pipelined; raises the first BrokerError, and then any of them may be stored."""
        ...

    async def arm(self, task: Task, at: float) -> None:
        """Store a task to be delivered at a time, unless its hop is armed already."""
        ...

    async def record(self, submitted: Submitted) -> None:
        """Write the record of a tracked submission, unless it stands."""
        ...


class Hop(msgspec.Struct, frozen=True):
    """A schedule that brings a task back, and where in the stream it lies."""

    task: Task
    sequence: int


class Waiting(Protocol):
    """The schedules of single tasks."""

    async def hops(self, task_ids: Sequence[str]) -> dict[str, list[Hop]]:
        """The schedules that will bring these tasks back, by id, the latest hop first."""
        ...

    async def remove(self, hops: Sequence[Hop]) -> None:
        """Remove these very schedules; one that has fired is gone already."""
        ...


class TakeFlags(Protocol):
    """Takes flags: all that there are, or some more."""

    def __call__(self, flags: Sequence[Flag], *, whole: bool) -> None:
        """Take them."""
        ...


class Flags(Protocol):
    """The tasks that are to be cancelled."""

    async def put(self, flag: Flag) -> bool:
        """Set a flag unless one stands; whether this is the one."""
        ...

    async def read(self, task_ids: Sequence[str]) -> dict[str, Flag]:
        """The flags that stand among those of these tasks, by id."""
        ...

    def scan(self) -> AsyncIterator[list[Flag]]:
        """All flags, in pages."""
        ...

    async def free(self, task_ids: Sequence[str]) -> None:
        """Remove the flags of these tasks, which have ended."""
        ...

    async def watch(self, take: TakeFlags) -> None:
        """Give `take` all flags, and then each as it comes; all of them anew after a lost connection."""
        ...


class Boots(Protocol):
    """What is known of the broker's present run."""

    @property
    def boot(self) -> Boot:
        """What it had stored when it started; nothing while there is no connection."""
        ...

    async def settled(self) -> None:
        """Return once whoever outlived its start has had the time to note what it runs."""
        ...


class Presence(Protocol):
    """The workers, as far as they can be asked."""

    async def goes_on(self, nonce: str) -> bool | None:
        """Whether a run has not ended; None if its worker does not answer."""
        ...


class Inquiries(Protocol):
    """What the broker itself can say of a task."""

    async def status(self, task_id: str) -> Status | None:
        """What the records say of a task, or None."""
        ...

    async def ends(self, task_ids: Sequence[str]) -> dict[str, Done]:
        """The done records that stand among those of these tasks, by id."""
        ...

    async def ended(self, task_id: str) -> Done:
        """The done record of a task, as soon as it stands."""
        ...

    def follow(self, task_id: str) -> AsyncIterator[Status | None]:
        """What the records say of a task now, and again whenever they say something else, until it has ended."""
        ...
