"""The actors of groups under faults: members of every kind, parents, callbacks; each run writes to the journal."""

import asyncio
from dataclasses import dataclass, field

from natsume import BaseTask, CallbackSpawner, ExponentialBackoff, MutexLock
from natsume.given import TaskInfo

from .actors import OutOfInk, note


@dataclass
class Member(BaseTask):
    group: int
    seconds: float

    async def execute(self, info: TaskInfo) -> float:
        note("start", info, f"member {self.group}")
        await asyncio.sleep(self.seconds)
        note("end", info)
        return self.seconds


@dataclass
class ExclusiveMember(Member):
    @property
    def execution_locks(self) -> list[MutexLock]:
        return [MutexLock("TASK", f"group-{self.group}", ttl_ms=1000)]


@dataclass
class FlakyMember(Member):
    retry_policy = ExponentialBackoff(0.2, 2)

    async def execute(self, info: TaskInfo) -> float:
        if info.attempt <= 2:
            note("start", info, f"member {self.group}")
            note("end", info)
            raise OutOfInk(f"at attempt {info.attempt}")
        return await super().execute(info)


@dataclass
class UnserialisableMember(Member):
    async def execute(self, info: TaskInfo) -> object:
        await super().execute(info)
        return object()


@dataclass
class Callback(BaseTask):
    group: int

    async def execute(self, info: TaskInfo) -> int:
        note("start", info, f"callback {self.group}")
        note("end", info)
        return self.group


@dataclass
class Alarm(BaseTask):
    group: int

    async def execute(self, info: TaskInfo) -> int:
        note("start", info, f"alarm {self.group}")
        note("end", info)
        return self.group


@dataclass
class Link(BaseTask):
    """One of a chain; returns the numbers of all links up to it."""

    number: int
    seconds: float = 0.0
    trail: list[int] = field(default_factory=list)
    takes_result = "trail"

    async def execute(self, info: TaskInfo) -> list[int]:
        note("start", info, f"link {self.number}")
        await asyncio.sleep(self.seconds)
        note("end", info)
        return [*self.trail, self.number]


KINDS = {"plain": Member, "mutex": ExclusiveMember, "flaky": FlakyMember, "unserialisable": Member}


def members_of(group: int, kind: str, seconds: list[float]) -> list[Member]:
    """The members of a group; of an unserialisable one, the fourth's result cannot be written."""
    members = [KINDS[kind](group, one) for one in seconds]
    if kind == "unserialisable":
        members[3] = UnserialisableMember(group, seconds[3])
    return members


@dataclass
class Parent(BaseTask):
    group: int
    kind: str
    seconds: list[float]

    async def execute(self, info: TaskInfo, spawner: CallbackSpawner) -> str:
        note("start", info, f"parent {self.group}")
        members = members_of(self.group, self.kind, self.seconds)
        join = await spawner.spawn_with_callback(members, Callback(self.group), on_failure=Alarm(self.group))
        note("end", info)
        return join


ALL = {
    f"groups:{actor.__name__}": actor
    for actor in (Member, ExclusiveMember, FlakyMember, UnserialisableMember, Callback, Alarm, Parent, Link)
}
