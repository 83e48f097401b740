"""What outlives the broker: the ledger, its epochs, and outboxes."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from natsume.core.join import Join
from natsume.core.projection import Changes
from natsume.core.rights import OPERATOR, Who
from natsume.model.ledger import Account, Epoch, Filter, Place, Remnant, Row
from natsume.model.task import State


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

    async def done_with(self, joins: Collection[Join]) -> dict[str, bool]:
        """Of the joins that it knows anything of, by id: whether nobody needs them or their parents' records."""
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


class Families(Protocol):
    """Who follows from whom, as the ledger knows it; may raise LedgerError."""

    def unfinished(self, parents: Sequence[str]) -> AsyncIterator[list[tuple[str, str]]]:
        """Those of which these tasks are the parents and no end is known, in pages; each with its parent."""
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
