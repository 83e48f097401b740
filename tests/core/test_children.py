"""What one run collects of children: in a row, each once, whole or not at all."""

import asyncio
from dataclasses import dataclass

import msgspec
import pytest

from natsume import BaseTask
from natsume.actors.registry import Registry
from natsume.children import Children
from natsume.exceptions import BrokerError, NatsumeError, UsageError
from natsume.model.record import Chunk, When, child_id
from natsume.model.subject import parse_lane
from natsume.model.task import Task


@dataclass
class Note(BaseTask):
    text: str

    async def execute(self) -> None:
        pass


class Refused(BrokerError):
    pass


LONG = "x" * 20_000
PARENT = Task("parent", "core:Parent", parse_lane("normal.small"), b"{}")


class Run:
    """The children of one run, and the chunks as the broker would keep them."""

    def __init__(self, refused: int = 0) -> None:
        self.chunks: dict[int, Chunk] = {}
        self.refused = refused
        self.children = Children(Registry.of_classes({"core:Note": Note}), PARENT, self._submit, self._write)

    async def _submit(self, task: Task, due: float | None) -> None:
        raise AssertionError("nothing is submitted before the commit")

    async def _write(self, number: int, chunk: Chunk) -> None:
        await asyncio.sleep(0)
        if self.refused:
            self.refused -= 1
            raise Refused("not now")
        self.chunks[number] = chunk

    async def schedule(self, text: str) -> str:
        return await self.children.schedule(Note(text), at=None, labels=None, now=False)

    def all(self):
        """What the done record and the chunks that it names hold."""
        chunks = [self.chunks[number].children for number in range(self.children.chunks)]
        return [child for part in (*chunks, tuple(self.children.collected)) for child in part]


async def test_gathered_calls_fill_chunks_in_order_and_lose_none() -> None:
    run = Run()
    ids = await asyncio.gather(*(run.schedule(LONG) for _ in range(100)))
    assert run.children.chunks > 3
    assert [child.id for child in run.all()] == ids == [child_id("parent", index) for index in range(100)]


async def test_gathered_groups_have_joins_of_their_own_and_their_members_in_a_row() -> None:
    run = Run()
    spawn = run.children.spawn_with_callback
    joins = await asyncio.gather(
        spawn([Note(LONG)] * 15, Note("a")), run.schedule("b"), spawn([Note(LONG)] * 20, Note("c"))
    )
    groups = run.children.groups
    assert [group.join for group in groups] == [joins[0], joins[2]]
    by_id = {child.id: child for child in run.all()}
    assert len(by_id) == 36
    for group in groups:
        members = [by_id[child_id("parent", group.first + member)] for member in range(group.total)]
        assert [(child.join, child.member) for child in members] == [(group.join, n) for n in range(group.total)]


@pytest.mark.parametrize("count", [3, 30], ids=["in the record", "in chunks"])
async def test_a_group_that_could_not_be_taken_leaves_nothing_behind(count: int) -> None:
    run = Run()
    first = await run.schedule("first")
    broken = [Note(LONG)] * count + [object()]
    with pytest.raises(NatsumeError):
        await run.children.spawn_with_callback(broken, Note("never"))
    join = await run.children.spawn_with_callback([Note("member")], Note("callback"))
    assert [child.id for child in run.all()] == [first, child_id("parent", 1)]
    assert [(group.join, group.total, group.first) for group in run.children.groups] == [(join, 1, 1)]


async def test_a_chunk_that_was_not_stored_is_written_again_with_the_next_child() -> None:
    run = Run(refused=1)
    taken = []
    for _ in range(30):
        try:
            taken.append(await run.schedule(LONG))
        except Refused:
            assert msgspec.json.encode(run.chunks) == b"{}"
    assert len(taken) == 29
    assert [child.id for child in run.all()] == taken


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param({"a": 1}, id="no text"),
        pytest.param({1: "a"}, id="no name"),
        pytest.param(["a"], id="no mapping"),
        pytest.param({"a": "x\udcff"}, id="half a character"),
        pytest.param({str(number): "a" for number in range(33)}, id="too many"),
        pytest.param({"a": "x" * 10_000}, id="too large"),
    ],
)
async def test_labels_that_no_record_may_hold_are_refused_where_they_are_given(labels: object) -> None:
    run = Run()
    with pytest.raises(UsageError, match="label"):
        await run.children.schedule(Note("a"), at=None, labels=labels, now=False)
    assert await run.schedule("b") == child_id("parent", 0), "nothing of the refused one is left"


async def test_a_group_whose_condition_no_record_may_hold_is_refused() -> None:
    run = Run()
    with pytest.raises(UsageError, match="when='bogus' cannot be"):
        await run.children.spawn_with_callback([Note("a")], Note("b"), when="bogus")
    assert not run.all()
    for named in ("all_done", "ALL_DONE", When.ALL_DONE):
        await run.children.spawn_with_callback([Note("a")], Note("b"), when=named)
    assert {group.when for group in run.children.groups} == {When.ALL_DONE}
