"""The waker: a lock whose holder is gone goes to those that wait, though nobody gave it back."""

from natsume.adapters.nats.broker import Broker
from natsume.enums import Priority, Size
from natsume.model.lock import Blocked, Hold, Holding, Want
from natsume.model.subject import Lane
from natsume.model.task import Task
from natsume.ports import Lease
from natsume.runtime.waker import Waker
from natsume.testing import until

WANT = Want("mutex.job.7", "mutex:job:7", ttl_s=1.0)


async def parked(broker: Broker, task_id: str) -> None:
    """A task in the line, which would return by itself in an hour."""
    refused = await broker.leases.acquire(WANT, Holding(f"run of {task_id}", task_id, 0.0))
    assert isinstance(refused, Blocked)
    task = Task(
        task_id, "app:Fit", Lane(Priority.NORMAL, Size.SMALL), b"{}", hop=1, waits=1, waiting_since=broker.now()
    )
    await broker.leases.park(task, refused, broker.now() + 3600)


async def test_a_lock_whose_holder_died_goes_to_the_first_of_the_line(natsume_broker: Broker) -> None:
    broker = natsume_broker
    dead = await broker.leases.acquire(WANT, Holding("dead", "victim", 0.0))
    assert isinstance(dead, Lease)
    await parked(broker, "first")
    await parked(broker, "second")
    assert await broker.lines.keys(10) == [WANT.key]
    waker = Waker(broker.lines, broker.leases)

    async def looked() -> list[tuple[str, Hold]]:
        await waker.look()
        return [(entry.holding.task, entry.holding.hold) for entry in await broker.leases.entries(WANT.key)]

    await until(looked, lambda found: found == [("first", Hold.RESERVED)])
    assert [one.waiter.task for one in await broker.leases._line.first(WANT.key, 9)] == ["second"]


async def test_a_lock_that_is_held_is_left_alone(natsume_broker: Broker) -> None:
    broker = natsume_broker
    held = await broker.leases.acquire(Want(WANT.key, WANT.name), Holding("alive", "holder", 0.0))
    assert isinstance(held, Lease)
    await parked(broker, "first")
    await Waker(broker.lines, broker.leases).look()
    (entry,) = await broker.leases.entries(WANT.key)
    assert (entry.revision, entry.holding.task) == (held.revision, "holder")
