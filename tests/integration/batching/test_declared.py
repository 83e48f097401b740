"""What a batching actor may declare, what it is given, and how it is run by hand and listed."""

from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import pytest

from natsume import BaseTask, Depends, JoinResults, PeriodicBaseTask, Size, TaskControl, TaskInfo, member
from natsume.actors.registry import Registry
from natsume.cli import lanes
from natsume.cli.inline import Inline, Raised
from natsume.exceptions import Unbound, UsageError
from natsume.model.task import State
from natsume.testing import task_done

from .actors import Child, Few, Gathers, Parents

OPENED: list[str] = []


@asynccontextmanager
async def connection():
    OPENED.append("open")
    try:
        yield "connection"
    except ValueError:
        OPENED.append("undone")
        raise
    OPENED.append("closed")


@asynccontextmanager
async def broken():
    raise ConnectionError("the database is away")
    yield


@dataclass
class Injected(BaseTask):
    number: int
    batch_max = 10
    batch_wait_s = 0.1

    @classmethod
    async def execute_batch(
        cls, tasks: Sequence["Injected"], database: Annotated[str, Depends(connection)], other: int = 3
    ) -> None:
        OPENED.append(f"{database} for {len(tasks)} and {other}")


@dataclass
class Broken(BaseTask):
    number: int
    batch_max = 10
    batch_wait_s = 0.1

    @classmethod
    async def execute_batch(cls, tasks: Sequence["Broken"], database: Annotated[str, Depends(broken)]) -> None:
        raise AssertionError("it is never called")


@pytest.fixture
def natsume_registry():
    return {f"t:{cls.__name__}": cls for cls in (Injected, Broken, Gathers, Few, Parents, Child)}


async def test_dependencies_are_opened_once_for_all_and_closed_before_they_are_committed(
    natsume_client, natsume_worker
):
    OPENED.clear()
    tokens = await natsume_client.submit_many([Injected(number) for number in range(4)])
    assert {(await task_done(natsume_client, token)).state for token in tokens} == {State.COMPLETED}
    assert OPENED == ["open", "connection for 4 and 3", "closed"]


async def test_a_dependency_that_cannot_be_opened_fails_all_at_once(natsume_client, natsume_worker):
    records = [await task_done(natsume_client, one) for one in await natsume_client.submit_many([Broken(1), Broken(2)])]
    assert [record.failure.message for record in records] == ["the database is away"] * 2
    assert records[0].started_at == records[1].started_at


def declare(**attributes):
    async def execute_batch(cls, tasks):
        pass

    return type("It", (BaseTask,), {"batch_max": 5, "execute_batch": classmethod(execute_batch), **attributes})


async def asks(cls, tasks, info: TaskInfo):
    pass


async def tells(cls, tasks, control: TaskControl):
    pass


async def reads(cls, tasks, results: JoinResults):
    pass


async def not_of_the_class(self, tasks):
    pass


@pytest.mark.parametrize(
    ("cls", "sentence"),
    [
        (declare(batch_max=0), "It.batch_max is 0: set it to a number from 1 to 10000"),
        (declare(batch_max=True), "batch_max is True"),
        (declare(batch_wait_s=-1), "It.batch_wait_s is -1: set it to seconds from 0 to 60"),
        (declare(batch_max=None), "It has execute_batch() and no batch_max"),
        (declare(execute_batch=not_of_the_class), "It has batch_max: define its `@classmethod async def execute_batch"),
        (declare(size=Size.LARGE), "leave its size SMALL"),
        (declare(batch_key="vo"), "It.batch_key is 'vo', which is none of its arguments"),
        (declare(execute_batch=classmethod(asks)), "none is told by TaskInfo; use `with member(task) as info:`"),
        (declare(execute_batch=classmethod(tells)), "none is told by TaskControl"),
        (declare(execute_batch=classmethod(reads)), "none is told by JoinResults"),
        (type("Often", (PeriodicBaseTask,), dict(vars(declare()))), "Often is periodic"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(cls, sentence):
    with pytest.raises(UsageError, match="t:It: ") as refused:
        Registry.of_classes({"t:It": cls})
    assert sentence in str(refused.value)


def test_there_is_no_member_where_no_batch_runs():
    with pytest.raises(Unbound, match="no batch runs here"):
        member(Gathers(1))


async def test_by_hand_it_runs_for_one_task(natsume_settings, natsume_registry):
    registry = Registry.of_classes(natsume_registry)

    async def call(task: BaseTask) -> tuple[bytes, int]:
        async with Inline(natsume_settings, registry, registry.of(task), task) as inline:
            return await inline.run("none"), inline.scheduled

    assert await call(Gathers(1)) == (b"null", 0)
    assert await call(Parents(1)) == (b"null", 2)
    with pytest.raises(Raised, match="this one"):
        await call(Gathers(1, "fail"))


async def test_lanes_say_how_many_batches_wait(natsume_client, natsume_settings, natsume_registry, monkeypatch):
    registry = Registry.of_classes(natsume_registry)
    monkeypatch.setattr(lanes.Registry, "load", lambda _prefixes: registry)
    await natsume_client.submit_many([Few(number) for number in range(7)])
    (row,) = [row for row in await lanes._rows(natsume_settings, 0.0) if row["lane"] == "normal.small"]
    assert (row["actors"], row["batches"]) == ({"t:Few": 7}, {"t:Few": 3})
