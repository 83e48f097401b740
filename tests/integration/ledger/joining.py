"""Groups whose joins are to go, or to stay."""

from dataclasses import dataclass

from natsume import BaseTask, CallbackSpawner, JoinResults
from natsume.model.record import When

SUMS: list[int] = []
BROKEN: set[str] = set()


@dataclass
class Member(BaseTask):
    number: int

    async def execute(self) -> int:
        if f"member {self.number}" in BROKEN:
            raise ValueError(f"member {self.number} is broken")
        return self.number


@dataclass
class Sum(BaseTask):
    dlq_eligible = True

    async def execute(self, results: JoinResults) -> int:
        if "sum" in BROKEN:
            raise ValueError("the sum is broken")
        SUMS.append(sum([one.result or 0 async for one in results]))
        return SUMS[-1]


class Alarm(BaseTask):
    async def execute(self) -> None:
        pass


@dataclass
class Parent(BaseTask):
    count: int
    when: When = When.ALL_SUCCEEDED

    async def execute(self, spawner: CallbackSpawner) -> str:
        members = [Member(number) for number in range(1, self.count + 1)]
        return await spawner.spawn_with_callback(members, Sum(), on_failure=Alarm(), when=self.when)


ALL = {f"t:{cls.__name__}": cls for cls in (Member, Sum, Alarm, Parent)}
