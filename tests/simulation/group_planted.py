"""Bugs of a reactor planted on purpose: each must break a law, or the laws see nothing."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final
from unittest.mock import patch

from msgspec.structs import replace

from natsume.core import reaction as do
from natsume.core.join import Arrival, Join, arrive
from natsume.model.record import Chunk

from .group_worlds import GroupOptions
from .planted import Planted
from .reactor import Conductor

Twist = Callable[[do.Reaction], do.Reaction]


class PlantedInReactor(Planted):
    """A bug by its name: how it spoils each conductor, the core, or the use of the broker."""

    def __init__(
        self,
        name: str,
        spoil_conductor: Callable[[Conductor], None] = lambda _: None,
        in_place: Callable[[], AbstractContextManager[Any]] = nullcontext,
        options: GroupOptions | None = None,
    ) -> None:
        super().__init__(name, options)
        self.spoil_conductor = spoil_conductor
        self.in_place = in_place


def _twisted(twist: Twist) -> Callable[[Conductor], None]:
    def spoil(conductor: Conductor) -> None:
        react = conductor.react
        conductor.react = lambda *batch, **how: twist(react(*batch, **how))

    return spoil


def _children_first(reaction: do.Reaction) -> do.Reaction:
    """Joins are opened where their parent's record is nearly done with."""
    late: list[do.Effect] = []
    answer: Any = None
    while True:
        try:
            effect = reaction.send(answer)
        except StopIteration:
            return
        if isinstance(effect, do.OpenJoins):
            late.append(effect)
            answer = None
            continue
        if isinstance(effect, do.ReadJoins | do.Acknowledge):
            while late:
                yield late.pop()
        answer = yield effect


def _flag_first(reaction: do.Reaction) -> do.Reaction:
    """A callback, the only thing sent after the joins were read, is held back until its join says that it fired."""
    held: list[do.Effect] = []
    answer: Any = None
    reading = False
    while True:
        try:
            effect = reaction.send(answer)
        except StopIteration:
            return
        reading = reading or isinstance(effect, do.ReadJoins)
        if reading and isinstance(effect, do.Submit):
            held.append(effect)
            answer = None
            continue
        answer = yield effect
        if isinstance(effect, do.UpdateJoin):
            while held:
                yield held.pop(0)


def _acknowledged_first(reaction: do.Reaction, places: int) -> do.Reaction:
    for place in range(places):
        yield do.Acknowledge(place)
    answer: Any = None
    while True:
        try:
            effect = reaction.send(answer)
        except StopIteration:
            return
        answer = None if isinstance(effect, do.Acknowledge) else (yield effect)


def _acknowledge_first(conductor: Conductor) -> None:
    react = conductor.react

    def spoilt(batch: Any, suspect: Any, *, again: bool) -> do.Reaction:
        return _acknowledged_first(react(batch, suspect, again=again), len(batch))

    conductor.react = spoilt


def _count_arrivals(join: Join, arrivals: Iterable[Arrival]) -> Join:
    """A counter of successes: each arrival adds one, whoever's it is."""
    arrivals = list(arrivals)
    count = min(join.total, join.arrived_count + sum(arrival.succeeded for arrival in arrivals))
    return replace(arrive(join, arrivals), arrived=_bits(count))


def _bits(count: int) -> bytes:
    return ((1 << count) - 1).to_bytes((count + 7) // 8, "little")


def _read_any_run(conductor: Conductor) -> None:
    def read(effect: do.ReadChunk) -> Chunk | None:
        chunks = conductor.world.chunks.get(effect.id, {})
        return next((chunk for (_, number), chunk in reversed(chunks.items()) if number == effect.number), None)

    conductor.arrives[do.ReadChunk] = read


def _read_before_the_commit(conductor: Conductor) -> None:
    """Children of chunks are submitted as soon as they are seen, by whoever has nothing else to do."""
    advance, world = conductor.advance, conductor.world

    def eager() -> None:
        if conductor.idle:
            for parent, chunks in world.chunks.items():
                for chunk in chunks.values():
                    for child in chunk.children:
                        task = do.tasks_of(_Uncommitted(parent), (child,))[0].task  # type: ignore[arg-type]
                        world.submit(task, resent=True)
        advance()

    conductor.advance = eager  # type: ignore[method-assign]


class _Uncommitted:
    """What a parent looks like before its commit: an id."""

    root = owner = tenant = trace = None

    def __init__(self, parent: str) -> None:
        self.id = parent


def _trust_the_old(conductor: Conductor) -> None:
    def is_suspect(place: int) -> bool:
        taken = conductor.batch[place]
        return taken.delivered > 1 or taken.sequence <= conductor.boot_mark

    conductor.is_suspect = is_suspect  # type: ignore[method-assign]


def _ignore_boot_mark(conductor: Conductor) -> None:
    conductor.is_suspect = lambda place: conductor.batch[place].delivered > 1  # type: ignore[method-assign]


def _send_once(conductor: Conductor) -> None:
    submit = conductor.arrives[do.Submit]
    conductor.arrives[do.Submit] = lambda effect: submit(do.Submit(effect.tasks, resent=False))


BUGS: Final = {
    bug.name: bug
    for bug in (
        PlantedInReactor("a counter instead of a set", in_place=partial(patch.object, do, "arrive", _count_arrivals)),
        PlantedInReactor("chunks of any run", _read_any_run),
        PlantedInReactor("chunks read before the commit", _read_before_the_commit),
        PlantedInReactor("children before their join", _twisted(_children_first)),
        PlantedInReactor("the flag before the callback", _twisted(_flag_first)),
        PlantedInReactor("acknowledged before it is counted", _acknowledge_first),
        PlantedInReactor("joins without compare-and-set", options=GroupOptions(joins_are_fenced=False)),
        PlantedInReactor("a record that aged in hand is trusted", _trust_the_old),
        PlantedInReactor("no suspicion after a broker's crash", _ignore_boot_mark),
        PlantedInReactor("repeats are not called resent", _send_once),
    )
}
