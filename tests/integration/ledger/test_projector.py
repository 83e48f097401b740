"""What conductors write into the ledger, over a real broker and each database."""

from dataclasses import dataclass

import pytest

from natsume import BaseTask, ExponentialBackoff
from natsume.testing import until


@dataclass
class Double(BaseTask):
    number: int

    async def execute(self) -> int:
        return 2 * self.number


class FailOnce(BaseTask):
    retry_policy = ExponentialBackoff(base_delay_seconds=0, max_retries=1)

    async def execute(self, attempt: int = 0) -> None:
        raise ValueError("no")


class Fail(BaseTask):
    dlq_eligible = True

    async def execute(self) -> None:
        raise ValueError("for good")


class Parent(BaseTask):
    async def execute(self) -> str:
        return await Double(4).schedule()


@pytest.fixture
def natsume_registry():
    return {f"t:{cls.__name__}": cls for cls in (Double, FailOnce, Fail, Parent)}


async def test_what_becomes_of_tasks_stands_in_the_ledger(natsume_client, natsume_worker, natsume_conductor, rows):
    plain = await natsume_client.submit(Double(1))
    owned = await natsume_client.submit(Double(2), owner="ada", tenant="lhcb", labels={"a": "b"})
    dead = await natsume_client.submit(Fail())
    parent = await natsume_client.submit(Parent())
    child = await natsume_client.result(parent)
    later = await natsume_client.submit(Double(3), delay=3600, track=True)
    found = await until(
        rows, lambda seen: len(seen) == 6 and seen[child]["state"] == "COMPLETED" and seen[dead]["reason"]
    )
    assert {found[one]["state"] for one in (plain, owned, parent, child)} == {"COMPLETED"}
    assert (found[plain]["result"], found[plain]["attempts"], found[plain]["actor"]) == ("2", 1, "t:Double")
    assert (found[owned]["owner"], found[owned]["tenant"], found[owned]["labels"]) == ("ada", "lhcb", '{"a":"b"}')
    assert (found[owned]["arguments"], found[owned]["tracked"]) == ('{"number":2}', True)
    assert (found[dead]["state"], found[dead]["reason"], found[dead]["error"]) == (
        "FAILED",
        "exhausted",
        "ValueError",
    )
    assert (found[child]["parent"], found[child]["arguments"]) == (parent, '{"number":4}')
    assert (found[later]["state"], found[later]["finished_at"]) == ("ENQUEUED", None)
