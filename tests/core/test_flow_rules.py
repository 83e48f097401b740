"""Chains, groups and maps become children and joins; the result before it is an argument of the link that takes it."""

from dataclasses import dataclass, field

import msgspec
import pydantic
import pytest
from msgspec.structs import replace

from natsume import BaseTask, Unique, chain, group
from natsume import map as map_over
from natsume.actors.registry import Registry, make_actor
from natsume.children import Children
from natsume.core.reaction import OpenJoins, ReadJoins, Submit, UpdateJoin, joins_of, react
from natsume.exceptions import UsageError
from natsume.model import limits
from natsume.model.record import Chunk, Done, child_id
from natsume.model.subject import parse_lane
from natsume.model.task import State, Task


@dataclass
class Fetch(BaseTask):
    url: str

    async def execute(self) -> list[int]:
        return [len(self.url)]


@dataclass
class Parse(BaseTask):
    factor: int = 1
    numbers: list[int] = field(default_factory=list)
    takes_result = "numbers"

    async def execute(self) -> int:
        return sum(self.numbers) * self.factor


@dataclass
class Note(BaseTask):
    numbers: list[int] = field(default_factory=list)
    keep: bool = False

    async def execute(self) -> None: ...


REGISTRY = Registry.of_classes({f"core:{cls.__name__}": cls for cls in (Fetch, Parse, Note)})
PARENT = Task("parent", "core:Parent", parse_lane("normal.small"), b"{}", owner="ada")


class Run:
    """The children of one run, and how many it ever held beside the chunks."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.held = 0
        self.children = Children(REGISTRY, PARENT, self._submit, self._write)

    async def _submit(self, task: Task, due: float | None) -> None:
        raise AssertionError("nothing is submitted before the commit")

    async def _write(self, number: int, chunk: Chunk) -> None:
        assert number == len(self.chunks)
        self.held = max(self.held, len(chunk.children))
        self.chunks.append(chunk)

    def done(self) -> Done:
        made = tuple(self.children.collected), self.children.chunks, tuple(self.children.groups)
        return Done("parent", "core:Parent", State.COMPLETED, "n", "w", 1, 1.0, 2.0, children=made[0], groups=made[2])


def end_of(task: Task, result: object = None, state: State = State.COMPLETED) -> Done:
    encoded = msgspec.Raw(msgspec.json.encode(result))
    return Done(task.id, task.actor, state, "n", "w", 1, 1.0, 2.0, result=encoded, join=task.join, member=task.member)


class Reactor:
    """Reacts with joins in memory; each task that it submits is in `sent`, in order."""

    def __init__(self) -> None:
        self.joins: dict[str, tuple[object, int]] = {}
        self.sent: list[Task] = []
        self.die_before_firing = False

    def react(self, *batch: Done) -> None:
        reaction, answer = react(batch, lambda _: False, again=False), None
        while True:
            try:
                effect = reaction.send(answer)
            except StopIteration:
                return
            match effect:
                case OpenJoins(joins):
                    for join in joins:
                        self.joins.setdefault(join.id, (join, 1))
                case Submit(tasks, _):
                    if self.die_before_firing and tasks[0].after:
                        return
                    known = {one.id for one in self.sent}
                    self.sent += [one for one in tasks if one.id not in known]
                case ReadJoins(ids):
                    answer = {one: self.joins[one] for one in ids if one in self.joins}
                    continue
                case UpdateJoin(join, revision):
                    assert self.joins[join.id][1] == revision
                    self.joins[join.id] = (join, revision + 1)
                    answer = revision + 1
                    continue
            answer = None


async def test_a_chain_is_a_join_for_each_link_and_its_ids_are_those_of_children():
    run = Run()
    last = await run.children.spawn(chain(Fetch("abc"), Parse(2), Note()))
    assert last == child_id("parent", 2)
    assert [child.id for child in run.children.collected] == [child_id("parent", 0)]
    one, two = run.children.groups
    assert (one.first, one.total, one.callback.id, one.callback.join) == (0, 1, child_id("parent", 1), two.join)
    assert (two.first, two.total, two.callback.id, two.callback.join) == (1, 1, last, None)
    assert (one.callback.takes, two.callback.takes) == ("numbers", None)
    assert (one.chained, two.chained) == (False, True)


async def test_each_link_follows_with_the_result_before_it_and_all_else_that_goes_on():
    run, reactor = Run(), Reactor()
    await run.children.spawn(chain(Fetch("abc"), Parse(2), Note(keep=True)))
    reactor.react(replace(run.done(), owner="ada"))
    (fetch,) = reactor.sent
    reactor.react(end_of(fetch, [3]))
    parse = reactor.sent[1]
    assert msgspec.json.decode(parse.body) == {"factor": 2, "numbers": [3]}
    assert (parse.owner, parse.parent, parse.tracked) == ("ada", "parent", True)
    reactor.react(end_of(parse, 6), end_of(parse, 6))
    assert [one.actor for one in reactor.sent] == ["core:Fetch", "core:Parse", "core:Note"]
    assert msgspec.json.decode(reactor.sent[2].body) == {"numbers": [], "keep": True}


async def test_a_failed_link_holds_the_later_ones_until_it_has_succeeded():
    run, reactor = Run(), Reactor()
    await run.children.spawn(chain(Fetch("abc"), Parse(), Note()))
    reactor.react(run.done())
    reactor.react(end_of(reactor.sent[0], state=State.FAILED))
    assert len(reactor.sent) == 1
    reactor.react(replace(end_of(reactor.sent[0], [5]), id="replay"))
    assert msgspec.json.decode(reactor.sent[1].body)["numbers"] == [5]


async def test_who_has_no_result_in_hand_leaves_the_link_to_the_record_that_has_it():
    """A success was counted and its reactor died; the failure before its replay comes again to another."""
    run, reactor = Run(), Reactor()
    await run.children.spawn(chain(Fetch("abc"), Parse()))
    reactor.react(run.done())
    failed = end_of(reactor.sent[0], state=State.FAILED)
    succeeded = replace(end_of(reactor.sent[0], [5]), id="replay")
    reactor.react(failed)
    reactor.die_before_firing = True
    reactor.react(succeeded)
    reactor.die_before_firing = False
    reactor.react(failed)
    assert len(reactor.sent) == 1
    reactor.react(succeeded)
    assert msgspec.json.decode(reactor.sent[1].body)["numbers"] == [5]


async def test_a_result_that_is_too_large_makes_a_task_that_is_refused():
    run, reactor = Run(), Reactor()
    await run.children.spawn(chain(Fetch("abc"), Parse()))
    reactor.react(run.done())
    reactor.react(end_of(reactor.sent[0], "x" * (limits.RESULT_MAX - 2)))
    assert len(reactor.sent[1].body) == limits.ARGUMENTS_MAX + 1


async def test_a_group_stands_first_and_what_follows_comes_after_all():
    run, reactor = Run(), Reactor()
    await run.children.spawn(chain(group(Fetch("a"), Fetch("b")), Note(), Note()))
    reactor.react(run.done())
    first, second = reactor.sent
    reactor.react(end_of(second))
    assert len(reactor.sent) == 2
    reactor.react(end_of(first))
    assert [one.actor for one in reactor.sent[2:]] == ["core:Note"]


async def test_a_group_of_none_is_skipped():
    run, reactor = Run(), Reactor()
    last = await run.children.spawn(chain(group(), Note(), Parse(3)))
    assert last == child_id("parent", 1)
    reactor.react(run.done())
    reactor.react(end_of(reactor.sent[0], [7]))
    assert msgspec.json.decode(reactor.sent[1].body) == {"factor": 3, "numbers": [7]}


async def test_a_group_alone_is_children_of_its_parent_without_a_join():
    run = Run()
    assert await run.children.spawn(group(Fetch("a"), Fetch("b"))) == "parent"
    assert run.children.groups == []
    assert [one.join for one in run.children.collected] == [None, None]
    assert await run.children.spawn(chain(Fetch("c"))) == child_id("parent", 2)


async def test_nested_chains_are_one_and_several_in_a_task_have_joins_of_their_own():
    run = Run()
    await run.children.spawn(chain(chain(Fetch("a"), Parse()), chain(Note(), Note())))
    await run.children.spawn(chain(Fetch("b"), Parse()))
    assert len({one.join for one in run.children.groups}) == 4
    assert [one.first for one in run.children.groups] == [0, 1, 2, 4]


async def test_a_map_draws_its_values_while_it_is_taken_and_holds_few():
    run, drawn = Run(), 0

    def values():
        nonlocal drawn
        for number in range(100_000):
            drawn += 1
            assert drawn - (len(run.children.collected) + sum(len(one.children) for one in run.chunks)) <= 1
            yield number

    await run.children.spawn(chain(map_over(Fetch, (f"u{number}" for number in values())), Note()))
    assert drawn == 100_000
    assert run.children.groups[0].total == 100_000
    assert run.held < 1_500
    assert len(run.children.collected) < 1_500


async def test_a_map_with_chunks_gives_each_task_a_list():
    run = Run()
    await run.children.spawn(map_over(Note, iter(range(7)), chunk=3, keep=True))
    bodies = [msgspec.json.decode(bytes(one.arguments)) for one in run.children.collected]
    assert bodies == [{"numbers": part, "keep": True} for part in ([0, 1, 2], [3, 4, 5], [6])]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (chain, "at least one"),
        (lambda: chain(Fetch), "is no task"),
        (lambda: chain(Note(), group(Note())), "stands first"),
        (lambda: group(3), "is no task"),
        (lambda: map_over(Fetch, [1], url="x"), "no argument left"),
        (lambda: map_over(Fetch, [1], chunk=0), "whole number"),
        (lambda: REGISTRY.of(group(Note())), "client.spawn"),
    ],
)
def test_what_is_no_flow_is_refused_in_one_sentence(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make()


async def test_a_refused_flow_leaves_nothing_behind():
    run = Run()
    for flow in (
        chain(group(Fetch("a")), Parse()),
        chain(Fetch("a"), Note(), Fetch(5)),
        map_over(Note, ["no list"]),
    ):
        with pytest.raises(UsageError):
            await run.children.spawn(flow)
    assert (run.children.collected, run.children.groups) == ([], [])
    assert await run.children.spawn(chain(Note(), Note())) == child_id("parent", 1)


def test_what_an_actor_takes_is_checked_at_start():
    @dataclass
    class Wrong(BaseTask):
        takes_result = "other"
        number: int = 0

        async def execute(self) -> None: ...

    @dataclass
    class Needed(BaseTask):
        number: int
        takes_result = "number"

        async def execute(self) -> None: ...

    @dataclass
    class Single(BaseTask):
        number: int = 0
        takes_result = "number"
        unique = Unique()

        async def execute(self) -> None: ...

    class Model(BaseTask, pydantic.BaseModel):
        number: int = 0
        takes_result = "number"

        async def execute(self) -> None: ...

    class Struct(BaseTask, msgspec.Struct):
        number: int = 0
        takes_result = "number"

        async def execute(self) -> None: ...

    for cls, sentence in ((Wrong, "one of its arguments"), (Needed, "give it a default"), (Single, "unique")):
        with pytest.raises(UsageError, match=sentence):
            make_actor("core:X", cls)
    assert [make_actor("core:X", cls).takes_result for cls in (Model, Struct, Parse)] == ["number", "number", "numbers"]


async def test_the_joins_of_a_chain_know_whose_member_is_still_to_come():
    run = Run()
    await run.children.spawn(chain(Note(), Note(), Note()))
    assert [join.chained for join in joins_of(run.done())] == [False, True]
