"""Worlds of groups: parents that spawn members of all kinds, some with groups of their own, and loose children."""

from random import Random

import msgspec

from natsume.model.record import When
from natsume.model.task import Task

from .scenario import LANE, Actor, Scenario

_MEMBERS = ("plain", "plain", "plain", "flaky", "failing", "snoozing")
_CALLBACKS = ("plain", "plain", "flaky")


class Spawned(msgspec.Struct, frozen=True):
    """A group: the actors of its members, of its callback and of its failure callback."""

    members: tuple[str, ...]
    callback: str
    alarm: str | None
    when: When


class Plan(Actor, frozen=True):
    """An actor that may spawn; each run of one that `varies` takes another number of children.

    One that `delays` has its loose children run later.
    """

    groups: tuple[Spawned, ...] = ()
    loose: tuple[str, ...] = ()
    varies: bool = False
    delays: bool = False


class Draft:
    """Draws actors under names of their own."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.actors: dict[str, Actor] = {}

    def parent(self, depth: int) -> str:
        """The name of a new actor that spawns one or two groups and some loose children."""
        rng = self._rng
        groups = tuple(self._group(depth) for _ in range(rng.choice((1, 1, 2))))
        loose = tuple(self._actor(rng.choice(_CALLBACKS)) for _ in range(rng.choice((0, 0, 1, 3))))
        return self._actor(rng.choice(("plain", "plain", "flaky", "snoozing")), groups, loose, rng.random() < 0.5)

    def _group(self, depth: int) -> Spawned:
        rng = self._rng
        members = []
        for _ in range(rng.choice((0, 1, 2, 3, 5))):
            nested = depth and rng.random() < 0.15
            members.append(self.parent(depth - 1) if nested else self._actor(rng.choice(_MEMBERS)))
        callback = self._actor(rng.choice(_CALLBACKS))
        alarm = self._actor("plain") if rng.random() < 0.5 else None
        when = rng.choice((When.ALL_SUCCEEDED, When.ALL_SUCCEEDED, When.ALL_DONE))
        return Spawned(tuple(members), callback, alarm, when)

    def _actor(
        self, kind: str, groups: tuple[Spawned, ...] = (), loose: tuple[str, ...] = (), varies: bool = False
    ) -> str:
        rng = self._rng
        rounds, name = rng.randint(1, 2), f"sim:A{len(self.actors)}"
        retries_max = rounds if kind == "flaky" else rng.choice((0, 0, 1))
        keys = rng.choice(((), (), (), ("a",)))
        plan = Plan(
            name,
            kind,
            rounds,
            retries_max,
            keys,
            False,
            False,
            None,
            0.0,
            False,
            groups,
            loose,
            varies,
            rng.random() < 0.3,
        )
        self.actors[name] = plan
        return name


def draw(rng: Random) -> Scenario:
    """A small world: one or two parents, two or three workers."""
    draft = Draft(rng)
    parents = [draft.parent(1) for _ in range(rng.choice((1, 1, 2)))]
    tasks = tuple((Task(f"p{number}", name, LANE, b"{}"), 0.0) for number, name in enumerate(parents))
    return Scenario(tasks, draft.actors, rng.randint(2, 3), rng.randint(1, 3))
