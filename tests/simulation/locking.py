"""Locks in the simulation: the adapter's own code, one step at a time, over the model of the bucket and its lines."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from natsume.adapters.nats.direct import Stored
from natsume.adapters.nats.leases import KvLeases
from natsume.adapters.nats.line import Line as Waiting
from natsume.exceptions import BrokerError, Disconnected
from natsume.model.lock import Hold, Holding, Mode, Want
from natsume.model.task import Task
from natsume.ports import Lease

from .locks.broker import Broker, Line
from .locks.clock import be_at

if TYPE_CHECKING:
    from .world import World

WANTS = {
    "a": Want("mutex.a", "a"),
    "b": Want("mutex.b", "b"),
    "s": Want("semaphore.s", "s", Mode.PERMIT, 2),
    "r": Want("rwlock.d", "r", Mode.SHARED),
    "w": Want("rwlock.d", "w", Mode.EXCLUSIVE),
}
_APART_S = 600.0


class Bucket(Broker):
    """The bucket and the lines of a world, by its clock."""

    def __init__(self, world: "World") -> None:
        self._world = world
        super().__init__()
        self.parking: dict[str, Task] = {}
        self.parked: Callable[[str, int], None] = lambda _task, _hop: None
        self.by_hand: dict[tuple[str, str], int] = {}
        self.on_woken = self._send

    @property
    def now(self) -> float:
        """The broker's clock."""
        return self._world.now

    @now.setter
    def now(self, _: float) -> None:
        """The world's clock goes by itself."""

    def publish(self, subject: str, headers: dict[str, str], body: bytes) -> int:
        """Store a message if its fence holds: who has fired and is not purged yet can be woken as well."""
        self.expire()
        sequence = super().publish(subject, headers, body)
        if subject in self.parking:
            due = self.line[subject].due
            assert due is not None
            task = self.parking[subject]
            self._world.keep(subject, task, due, headers["Natsume-Lock-Key"])
            self.parked(task.id, task.hop)
        return sequence

    def delete(self, sequence: int) -> bool:
        """Remove an entry by its sequence."""
        self.expire()
        return super().delete(sequence)

    def release_by_hand(self, name: str) -> None:
        """End a lease from outside: also one that its holder takes again, and has no answer."""
        stored = self.entries[name].stored
        key = name.removeprefix("$KV.locks.").rpartition(".")[0]
        self.by_hand[key, msgspec.json.decode(stored.body, type=Holding).holder] = stored.sequence
        self.delete(stored.sequence)

    def held(self) -> list[str]:
        """The entries of holders, in order."""
        self.expire()
        places = {name: msgspec.json.decode(m.stored.body, type=Holding) for name, m in self.entries.items()}
        return sorted(name for name, place in places.items() if place.hold is Hold.HELD)

    def _send(self, stored: Stored) -> None:
        self._world.send(stored.subject)


class Locks:
    """One worker's way to the locks; its clock is minutes from that of the others."""

    def __init__(self, world: "World", number: int) -> None:
        self.adapter: type[KvLeases] = KvLeases
        self._world = world
        self._apart_s = number * _APART_S

    @property
    def leases(self) -> KvLeases:
        """The port, over a connection of its own."""
        connection: Any = Line(self._world.bucket)
        waiting = Waiting(connection, connection)
        return self.adapter(connection, connection, connection.request, waiting, lambda: self._world.now)

    def monotonic(self) -> float:
        """The clock of this process."""
        return self._world.now + self._apart_s

    def step(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let one step of it happen; StopIteration at its end."""
        be_at(self.monotonic)
        work.send(None)

    def finish(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Let all of it happen."""
        try:
            while True:
                self.step(work)
        except StopIteration as end:
            return end.value

    def cut(self, work: Coroutine[Any, Any, Any], steps: int) -> None:
        """Let some of it happen, and have its connection lost then."""
        try:
            for _ in range(steps):
                self.step(work)
            work.throw(Disconnected("the connection is lost"))
        except (StopIteration, BrokerError):
            pass
        work.close()

    def holds(self, lease: Lease) -> bool:
        """Whether its holder has reason to believe that it does."""
        released = self._world.bucket.by_hand.get((lease.want.key, lease.holding.holder), 0)
        return lease.until > self.monotonic() and lease.revision > released
