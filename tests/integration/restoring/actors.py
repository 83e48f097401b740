"""Tasks of all kinds that a lost broker may have held."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from natsume import BaseTask, CallbackSpawner, ExponentialBackoff, Size, Unique, UnretryableError, When
from natsume.results import JoinResults

RUNS: Counter[str] = Counter()


@dataclass
class Plain(BaseTask):
    name: str

    async def execute(self) -> str:
        RUNS[self.name] += 1
        return self.name


@dataclass
class Kept(BaseTask):
    """Fails as often as it is told in all, and for good where that is more than it may."""

    name: str
    failures: int = 0

    dlq_eligible = True
    retry_policy = ExponentialBackoff(base_delay_seconds=0.3, max_retries=3)
    failed: ClassVar[Counter[str]] = Counter()

    async def execute(self) -> str:
        RUNS[self.name] += 1
        if self.failed[self.name] < self.failures:
            self.failed[self.name] += 1
            raise ValueError("not yet")
        return self.name


@dataclass
class Alone(Kept):
    unique = Unique(by="args")


@dataclass
class Later(Kept):
    """Nobody runs it here, for its size is another."""

    size = Size.LARGE


@dataclass
class Sum(BaseTask):
    name: str

    async def execute(self, results: JoinResults) -> list[object]:
        RUNS[self.name] += 1
        return [one.result if one.state == "COMPLETED" else str(one.state) async for one in results]


class Group(BaseTask):
    async def execute(self, spawn: CallbackSpawner) -> str:
        return await spawn.spawn_with_callback([Kept("one"), Plain("two"), Later("three")], Sum("sum"))


class Mended(BaseTask):
    """One of its members fails for good, until somebody replays it; the other runs when somebody does."""

    async def execute(self, spawn: CallbackSpawner) -> str:
        return await spawn.spawn_with_callback([Kept("mended", 4), Later("six")], Sum("mended"))


class Lossy(BaseTask):
    """One of its members is neither tracked nor eligible, and can wait for ever."""

    async def execute(self, spawn: CallbackSpawner) -> str:
        return await spawn.spawn_with_callback([Kept("four"), Waits("five")], Sum("lossy"), on_failure=Kept("alarm"))


@dataclass
class Waits(Plain):
    size = Size.LARGE


@dataclass
class Tally(Sum):
    """Fails once it has read all, as long as it is broken."""

    dlq_eligible = True
    broken: ClassVar[bool] = False

    async def execute(self, results: JoinResults) -> list[object]:
        found = await super().execute(results)
        if self.broken:
            raise UnretryableError("not yet")
        return found


class Refuses(BaseTask):
    async def execute(self) -> None:
        raise UnretryableError("never")


class Called(BaseTask):
    async def execute(self, spawn: CallbackSpawner) -> str:
        return await spawn.spawn_with_callback([Kept("one"), Plain("two")], Tally("tally"))


class Alarmed(BaseTask):
    """Its callback succeeds, and what is called at the first failure does not."""

    async def execute(self, spawn: CallbackSpawner) -> str:
        members = [Plain("one"), Refuses()]
        return await spawn.spawn_with_callback(members, Sum("sum"), on_failure=Tally("alarm"), when=When.ALL_DONE)


class Hangs(Sum):
    """Its first run reads all, and does not end."""

    async def execute(self, results: JoinResults) -> list[object]:
        found = await super().execute(results)
        if RUNS[self.name] == 1:
            await asyncio.Event().wait()
        return found


class Held(BaseTask):
    """Its callback, that neither is tracked nor may be a dead letter, is running for long."""

    async def execute(self, spawn: CallbackSpawner) -> str:
        return await spawn.spawn_with_callback([Kept("one"), Plain("two")], Hangs("hangs"))


@dataclass
class Follows(BaseTask):
    """A link of a chain, whose first run does not end."""

    found: str = ""
    takes_result = "found"

    async def execute(self) -> str:
        RUNS["follows"] += 1
        if RUNS["follows"] == 1:
            await asyncio.Event().wait()
        return f"after {self.found}"


_CLASSES = (
    Plain,
    Kept,
    Alone,
    Later,
    Sum,
    Group,
    Mended,
    Lossy,
    Waits,
    Tally,
    Refuses,
    Called,
    Alarmed,
    Hangs,
    Held,
    Follows,
)
ALL = {f"r:{cls.__name__}": cls for cls in _CLASSES}
