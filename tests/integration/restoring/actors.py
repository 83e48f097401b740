"""Tasks of all kinds that a lost broker may have held."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from natsume import BaseTask, CallbackSpawner, ExponentialBackoff, Size, Unique
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


ALL = {f"r:{cls.__name__}": cls for cls in (Plain, Kept, Alone, Later, Sum, Group, Mended, Lossy, Waits)}
