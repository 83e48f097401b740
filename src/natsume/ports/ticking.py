"""The schedules in the broker."""

from collections.abc import Sequence
from typing import Protocol

from natsume.model.tick import Entry, Mark, Present, Ran


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
