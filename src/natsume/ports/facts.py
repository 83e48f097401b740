"""The records of tasks, and what follows from them."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from natsume.core.join import Join
from natsume.core.leftovers import ChunkName
from natsume.core.settling import DeadLetter
from natsume.exceptions import BrokerError
from natsume.model.claim import Claim
from natsume.model.record import Chunk, Done, Failed, History, Settled, Started
from natsume.model.told import Commented, Flag, Heartbeat, Progressed


class Commits(Protocol):
    """The done records of tasks that ran together."""

    async def commit_all(self, records: Sequence[Done]) -> list[bool | BrokerError]:
        """Write each unless one stands; of each in order, whether this very run's stands, or why that is not known."""
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


class Replayed(msgspec.Struct, frozen=True):
    """The decision to replay a dead letter as the broker keeps it: since when (Unix seconds), under which revision.

    `settled` is None if it cannot be read.
    """

    settled: Settled | None
    revision: int
    at: float


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

    async def replayed(self, revision: int, count: int) -> list[Replayed]:
        """At most `count` of the replays that were decided, from a revision on, in the order of their revisions."""
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


class OldRecord(msgspec.Struct, frozen=True):
    """A record as the broker keeps it: whose, where in the stream, and since when (Unix seconds)."""

    task_id: str
    sequence: int
    at: float


class OldJoin(msgspec.Struct, frozen=True):
    """A join as its bucket keeps it, since when (Unix seconds), and under which revision; None cannot be read."""

    join: Join | None
    revision: int
    at: float


class OldJoins(Protocol):
    """The joins that changed longest ago."""

    async def page(self, revision: int, count: int) -> list[OldJoin]:
        """The first joins from a revision on; `count` bounds them, those that changed longest ago first."""
        ...

    async def remove(self, revisions: Sequence[int]) -> None:
        """Remove the very joins that were read; one that has changed since stays."""
        ...


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
