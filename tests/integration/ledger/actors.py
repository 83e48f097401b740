"""Tasks whose traces are looked for in the ledger."""

from dataclasses import dataclass

from natsume import BaseTask, ExponentialBackoff


@dataclass
class Double(BaseTask):
    number: int

    async def execute(self) -> int:
        return 2 * self.number


class FailOnce(BaseTask):
    retry_policy = ExponentialBackoff(base_delay_seconds=0, max_retries=1)

    async def execute(self) -> None:
        raise ValueError("no")


class Fail(BaseTask):
    dlq_eligible = True

    async def execute(self) -> None:
        raise ValueError("for good")


class Parent(BaseTask):
    async def execute(self) -> str:
        return await Double(4).schedule()


ALL = {f"t:{cls.__name__}": cls for cls in (Double, FailOnce, Fail, Parent)}
