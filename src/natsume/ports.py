"""What the runtime needs of the world; adapters carry it out, in the core's structs alone.

Every method may raise BrokerError: then nothing is known of its effect.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from natsume.core.delivery import Boot, Delivery
from natsume.core.gcra import Asked
from natsume.core.join import Join
from natsume.core.leftovers import ChunkName
from natsume.core.projection import Changes
from natsume.core.rights import OPERATOR, Who
from natsume.core.settling import DeadLetter
from natsume.model.claim import Claim
from natsume.model.event import Envelope
from natsume.model.ledger import Account, Epoch, Filter, Place, Remnant, Row
from natsume.model.lock import Blocked, Holding, Want
from natsume.model.record import (
    Chunk,
    Commented,
    Done,
    Failed,
    Flag,
    Heartbeat,
    History,
    Progressed,
    Settled,
    Started,
    Submitted,
)
from natsume.model.status import Status
from natsume.model.subject import Lane
from natsume.model.task import State, Task
from natsume.model.tick import Entry, Mark, Present, Ran


class Deliveries(Protocol):
    """The lanes as one worker sees them."""

    def pull(self, lane: Lane, count: int) -> None:
        """Ask for `count` more deliveries of a lane, whenever there are any."""
        ...

    def outstanding(self, lane: Lane) -> int:
        """Deliveries of a lane that were asked for and have not come."""
        ...

    def acknowledge(self, delivery: Delivery) -> None:
        """Say that a delivery is dealt with."""
        ...

    def give_back(self, delivery: Delivery) -> None:
        """Have it delivered again, now, to whoever pulls."""
        ...

    async def close(self, refuse: Callable[[Delivery], None]) -> None:
        """End all pulls; what still arrives goes to `refuse`."""
        ...


class Records(Protocol):
    """The facts of tasks, each written at most once."""

    async def commit(self, record: Done) -> bool:
        """Write the done record unless one stands; whether this very run's record stands."""
        ...

    async def fail(self, record: Failed) -> Failed:
        """Write the record of a failed attempt unless one stands; the one that stands."""
        ...

    async def start(self, record: Started, expected: int) -> int | None:
        """Write the record of a start if the last one's sequence is `expected`; its sequence, or None."""
        ...

    async def look_up(self, asked: Sequence[tuple[str, int]]) -> list[History]:
        """What stands of each task id and attempt, in order."""
        ...

    async def tell(self, record: Progressed | Heartbeat | Commented | Flag) -> None:
        """Write what is worth knowing, and nothing rests on; of progress and heartbeats the last one stays."""
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


class Lease(msgspec.Struct):
    """A held place in a lock: `revision` changes at each renewal, `token` is its first and only grows over holders.

    `until` is when it ends for its holder, on the monotonic clock of this process; `waited` that its task had
    to wait for it, as others may.
    """

    want: Want
    slot: str
    holding: Holding
    token: int
    revision: int
    until: float
    waited: bool = False

    @property
    def key(self) -> str:
        """The entry's key in its bucket."""
        return f"{self.want.key}.{self.slot}"


class Leases(Protocol):
    """Locks that end by themselves, and the lines of those that wait for them."""

    async def acquire(self, want: Want, holding: Holding, *, waited: bool = False) -> Lease | Blocked:
        """Take a place if there is one, or if it is kept for this task, which `waited`, or already this holder's."""
        ...

    async def renew(self, lease: Lease) -> bool:
        """Lengthen a lease in place; False if it is lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Hand the place to who is next, or give it back; does nothing if it is lost."""
        ...

    async def park(self, task: Task, blocked: Blocked, until: float) -> None:
        """Let a task wait in the lock's line, unless its hop does already; it returns by itself then."""
        ...

    async def wake(self, key: str, *, given_up_by: str | None = None, permits: int | None = None) -> None:
        """Give the free places of a lock, and what is kept for a task that gives it up, to the first of its line.

        `permits` are those that there are now, where the waiters may have asked for another number.
        """
        ...


class Lines(Protocol):
    """The lines of all locks."""

    async def keys(self, count_max: int) -> list[str]:
        """The locks that somebody waits for, any so many of them."""
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


class DoneDelivery(msgspec.Struct):
    """A done record in a reactor's hands; `record` is None if it cannot be read."""

    record: Done | None
    token: bytes
    sequence: int
    delivered: int


class DoneFeed(Protocol):
    """Done records from which something follows, each until it is acknowledged."""

    async def batch(self, count_max: int) -> list[DoneDelivery]:
        """At least one, as soon as there is one."""
        ...

    def acknowledge(self, delivery: DoneDelivery) -> None:
        """Say that all that follows from a record is stored."""
        ...

    def is_alone(self, delivery: DoneDelivery) -> bool:
        """Whether surely nobody else has been brought this record."""
        ...

    def leave(self, delivery: DoneDelivery) -> None:
        """Let it be brought again, but not at once."""
        ...


class Joins(Protocol):
    """The joins, each changed by compare-and-set."""

    async def open(self, joins: Sequence[Join]) -> None:
        """Store joins that are not there yet."""
        ...

    async def read(self, ids: Sequence[str]) -> dict[str, tuple[Join, int]]:
        """The joins of these ids that there are, with their revisions."""
        ...

    async def update(self, join: Join, revision: int) -> int | None:
        """Store a join if its revision is still this; the new revision, or None."""
        ...


class Limiters(Protocol):
    """The rate limiters, shared by all that name the same key."""

    async def reserve(self, key: str, asked: Sequence[Asked]) -> list[float | None]:
        """A time for each, in order; None where none is near enough."""
        ...


class Ticks(Protocol):
    """What a worker does for the schedules whose ticks it runs."""

    async def put(self, entry: Entry, expected: int) -> bool:
        """Store a schedule if the last one on its subject is still this, 0 for none; whether it is stored."""
        ...

    async def ran(self, keys: Sequence[str]) -> dict[str, Ran]:
        """The latest starts of these schedules, by their ids."""
        ...

    async def started(self, schedule: str, ran: Ran) -> None:
        """Keep the start of a schedule's tick."""
        ...


class Schedules(Ticks, Protocol):
    """The schedules in the broker."""

    async def present(self) -> list[Present]:
        """All schedules that repeat or wait for an occurrence, also those that are not ours."""
        ...

    async def remove(self, present: Present) -> bool:
        """Remove the very schedule that was seen; False if another is in its place."""
        ...

    async def marks(self, keys: Sequence[str]) -> dict[str, Mark]:
        """What is kept of these schedules, by their ids."""
        ...

    async def mark(self, schedule: str, mark: Mark) -> None:
        """Keep this of a schedule."""
        ...


class Chunks(Protocol):
    """Children that are written before their parent's commit."""

    async def write(self, task_id: str, nonce: str, number: int, chunk: Chunk) -> None:
        """Store a chunk of a run's children."""
        ...

    async def read(self, task_id: str, nonce: str, number: int) -> Chunk:
        """A chunk that a done record names; raises MissingChunk."""
        ...

    async def purge(self, task_id: str) -> None:
        """Remove the chunks of all runs of a task whose children are submitted."""
        ...


class OldChunks(Protocol):
    """The chunks that there are, whoever wrote them."""

    async def names(self) -> list[ChunkName]:
        """All of them."""
        ...

    async def written_at(self, name: ChunkName) -> float:
        """When one was stored, in Unix seconds; never, if it is gone."""
        ...

    async def remove(self, names: Collection[ChunkName]) -> None:
        """Remove chunks."""
        ...


class Claims(Protocol):
    """The claims of unique tasks."""

    async def create(self, key: str, claim: Claim) -> bool:
        """Store a claim unless one stands."""
        ...

    async def read(self, key: str) -> tuple[Claim, int] | None:
        """The claim that stands, and its revision."""
        ...

    async def free(self, key: str, revision: int) -> None:
        """Remove the very claim that was read; does nothing if it is gone."""
        ...

    async def free_ended(self, holders: Mapping[str, str]) -> None:
        """Remove the claims under these keys that these tasks hold."""
        ...


class Letters(Protocol):
    """The dead letters, and what was decided on them."""

    def scan(self) -> AsyncIterator[DeadLetter]:
        """All dead letters that there are now, oldest first."""
        ...

    async def settled(self, ids: Sequence[str]) -> dict[str, tuple[Settled, int]]:
        """What was decided on those of these dead letters on which anything was, with the revision."""
        ...

    async def settle(self, record: Settled, revision: int) -> int | None:
        """Write a decision over the one of this revision, 0 for none; the new revision, or None if another stands."""
        ...


class EventSink(Protocol):
    """Events on their way to whoever takes them."""

    async def publish(self, event: Envelope, *, resent: bool) -> None:
        """Store an event, unless the broker knows its id already."""
        ...


class Subscription(msgspec.Struct, frozen=True):
    """Which events an actor takes, and whether from `now` or from the `beginning` when it is new."""

    actor: str
    patterns: tuple[str, ...]
    events_from: str


class EventDelivery(msgspec.Struct):
    """An event on its way to one actor; what lies not above `suspect_to` may have been delivered before."""

    actor: str
    event: Envelope
    token: bytes
    sequence: int
    delivered: int
    suspect_to: int


class EventFeed(Protocol):
    """The events of several actors, each until it is acknowledged."""

    async def keep(self, wanted: Sequence[Subscription]) -> None:
        """Take from all of these, and keep how far they are for whoever comes later."""
        ...

    async def batch(self, count_max: int) -> list[EventDelivery]:
        """At least one, as soon as there is one."""
        ...

    def is_alone(self, delivery: EventDelivery) -> bool:
        """Whether surely nobody else has been brought this event for its actor."""
        ...

    def acknowledge(self, delivery: EventDelivery) -> None:
        """Say that its task is stored."""
        ...

    def leave(self, delivery: EventDelivery) -> None:
        """Let it be brought again, but not at once."""
        ...


class Recorded(msgspec.Struct, frozen=True):
    """A record in the hands of the ledger's projector."""

    subject: str
    body: bytes
    token: bytes
    sequence: int


class RecordsFeed(Protocol):
    """All records that the ledger is made of, each until it is acknowledged."""

    async def batch(self, count_max: int) -> list[Recorded]:
        """At least one, as soon as there is one; successes from which nothing follows come last."""
        ...

    def acknowledge(self, batch: Sequence[Recorded]) -> None:
        """Say that their rows are committed."""
        ...


class Ledger(Protocol):
    """What outlives the broker; every method may raise LedgerError."""

    async def prepare(self) -> None:
        """Make sure that the schema is this version's."""
        ...

    async def project(self, changes: Changes, broker: str, sequence: int) -> None:
        """Commit changes, and that this broker's records were followed to here."""
        ...

    async def ended(self, task_ids: Collection[str]) -> set[str]:
        """Those whose records the broker need not keep: ended, settled if dead, and read by no callback."""
        ...

    async def prune(self, state: State, before: float, count: int) -> int:
        """Remove at most `count` tasks that ended so before this time; how many there were."""
        ...


class Epochs(Protocol):
    """Which broker the ledger follows, and what outlives each; every method may raise LedgerError."""

    async def meet(self, broker: str) -> Epoch:
        """The epoch of this broker: a new one, unless it is the one that was met last."""
        ...

    async def claim(self, number: int, who: str, now: float) -> bool:
        """Be the one who restores it for a while, again or unless another is."""
        ...

    async def finish(self, number: int) -> None:
        """Say that it is restored."""
        ...

    async def configuration(self) -> dict[str, bytes]:
        """What was kept of the bucket `config`, by key."""
        ...

    async def configure(self, values: Mapping[str, bytes]) -> None:
        """Keep this, and nothing else."""
        ...


class Remains(Protocol):
    """What the ledger knows of brokers before an epoch, page by page; every method may raise LedgerError."""

    def joins(self, epoch: int) -> AsyncIterator[list[Join]]:
        """The joins that count or are read yet, without their arrivals."""
        ...

    def members(self, join_ids: Sequence[str]) -> AsyncIterator[list[Remnant]]:
        """All tasks whose ends count for these joins."""
        ...

    def ended(self, epoch: int, since: float) -> AsyncIterator[list[Remnant]]:
        """Dead letters that nobody settled, and tracked tasks that ended since then."""
        ...

    def unfinished(self, epoch: int) -> AsyncIterator[list[Remnant]]:
        """Tasks that have not ended, oldest first."""
        ...


class Silence(Protocol):
    """Tracked tasks of which the ledger knows nothing but that they were submitted; may raise LedgerError."""

    async def silent(self, before: float, count: int) -> list[Row]:
        """At most `count` that were submitted before this time, and not sent again since."""
        ...

    async def resent(self, task_ids: Sequence[str]) -> None:
        """Say that these were sent again."""
        ...


class Kept(Protocol):
    """What of the bucket `config` outlives the broker."""

    async def read(self) -> tuple[int | None, dict[str, bytes]]:
        """The epoch, None in a broker that was never met, and what is to be kept, by key."""
        ...

    async def raise_epoch(self, epoch: int) -> None:
        """Store the epoch, unless a higher one stands."""
        ...

    async def restore(self, values: Mapping[str, bytes]) -> None:
        """Store those that are not there."""
        ...

    async def finish(self) -> None:
        """Say that all is there that is to be."""
        ...


class Outlet(Protocol):
    """The broker as the relay of an outbox sees it."""

    async def broker(self) -> str:
        """The name of the broker that is there now: another name is another, empty, one."""
        ...

    async def restored(self) -> bool:
        """Whether a conductor has said that all is there that an earlier one held."""
        ...

    async def end(self) -> int:
        """The sequence of the last record that is stored."""
        ...

    async def settled(self) -> int:
        """The sequence up to which the reactor and the ledger have acknowledged everything."""
        ...

    def nudge(self) -> None:
        """Tell all relays to look."""
        ...

    def nudged(self, event: asyncio.Event) -> AbstractContextManager[None]:
        """Set the event whenever relays are told to look."""
        ...


class Reading(Protocol):
    """The ledger as services ask it; every method may raise LedgerError."""

    async def get(self, task_id: str, who: Who = OPERATOR) -> Account | None:
        """All that is known of a task, or None; for a task that they may not see, as if there were none."""
        ...

    async def find(self, wanted: Filter, count: int, after: Place | None = None, who: Who = OPERATOR) -> list[Row]:
        """At most `count` of the tasks that they may see, newest first, from after a place on; without long texts."""
        ...

    async def consume(self, row: Row) -> None:
        """Keep that the owner of a task has seen its end; `row` is for a task whose records are not projected yet."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


class OldRecord(msgspec.Struct, frozen=True):
    """A record as the broker keeps it: whose, where in the stream, and since when (Unix seconds)."""

    task_id: str
    sequence: int
    at: float


class OldRecords(Protocol):
    """The records that nobody waits for any more."""

    async def settled(self) -> int:
        """The sequence up to which the reactor and the ledger have acknowledged everything."""
        ...

    async def page(self, kind: str, sequence: int, count: int) -> list[OldRecord]:
        """The first records of a kind (`failed`, `done.effects`) from a sequence on."""
        ...

    async def purge(self, task_ids: Collection[str], before: int) -> None:
        """Remove all records of these tasks that lie before a sequence."""
        ...
