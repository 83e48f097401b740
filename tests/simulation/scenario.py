"""What a world is made of: its tasks and what their actors do when they run."""

from datetime import UTC, datetime
from random import Random
from zlib import crc32

import msgspec
from msgspec.structs import replace

from natsume.core.delivery import Rules
from natsume.core.tick import TickRules
from natsume.enums import Overlap, Priority, Size
from natsume.model.limit_rule import RateRule, Share
from natsume.model.subject import Lane
from natsume.model.task import Task
from natsume.model.tick import ScheduleKey
from natsume.schedules import IntervalSeconds

CRASHES_MAX = 3
LANE = Lane(Priority.NORMAL, Size.SMALL)
OTHER_LANE = Lane(Priority.BACKGROUND, Size.SMALL)

SHARE = Share("rate", RateRule(1, 5.0))
"""What each limited task takes of the one rate limiter."""

KEYS = ((), (), ("a",), ("a",), ("b",), ("a", "b"), ("s",), ("r",), ("r",), ("w",), ("a", "w"), ("r", "s"))
"""Mutexes a and b, a semaphore s of two permits, a readers-writer lock to read and to write."""

KINDS = ("plain", "tick", "flaky", "failing", "snoozing", "poison", "misplaced", "rare", "stray")


class Actor(msgspec.Struct, frozen=True):
    """One task's own actor; `rounds` is how often it fails or snoozes before it succeeds."""

    name: str
    kind: str
    rounds: int
    retries_max: int
    keys: tuple[str, ...]
    drop_on_shutdown: bool
    dlq_eligible: bool
    wait_limit_s: float | None = None
    struck_until: float = 0.0
    limited: bool = False

    def rules(self, worker: str) -> Rules:
        """What its worker tells the table."""
        rules = Rules(self.name, LANE, self.dlq_eligible, self.drop_on_shutdown, CRASHES_MAX, worker=worker)
        rules = replace(rules, limited=self.limited, wait_limit_s=self.wait_limit_s)
        return replace(rules, ticks=TickRules(overlap=Overlap.SKIP)) if self.kind == "tick" else rules

    @property
    def takes_s(self) -> float:
        """How long it runs."""
        return (0.0, 0.0, 5.0, 30.0)[crc32(self.name.encode()) % 4]

    def known_to(self, number: int) -> bool:
        """Whether the worker with this number knows it."""
        return self.kind != "stray" and (self.kind != "rare" or number == 0)

    def fails(self, attempt: int) -> bool:
        """Whether this attempt raises."""
        return self.kind == "failing" or (self.kind == "flaky" and attempt <= self.rounds)


class Scenario(msgspec.Struct, frozen=True):
    """Tasks in the order of their submission, with the time each is delayed by, and their actors."""

    tasks: tuple[tuple[Task, float], ...]
    actors: dict[str, Actor]
    workers: int
    concurrency: int


def draw(rng: Random) -> Scenario:
    """A small world: two or three workers, three to eight tasks."""
    actors: dict[str, Actor] = {}
    tasks: list[tuple[Task, float]] = []
    for number in range(rng.randint(3, 8)):
        kind = rng.choice(KINDS)
        rounds = rng.randint(1, 3)
        actor = Actor(
            name=f"sim:A{number}",
            kind=kind,
            rounds=rounds,
            retries_max=rounds + rng.randint(0, 1) if kind == "flaky" else rng.randint(0, 2),
            keys=rng.choice(KEYS),
            drop_on_shutdown=rng.random() < 0.3,
            dlq_eligible=rng.random() < 0.5,
            wait_limit_s=rng.choice((None, 1.0, 2.0, 20.0)),
            struck_until=rng.choice((0.0, 0.0, 0.0, 5.0, 50.0)),
        )
        actors[actor.name] = actor
        lane = OTHER_LANE if kind == "misplaced" else LANE
        delay_s = rng.choice((0.0, 0.0, 0.0, 0.0, 3.0))
        task = Task(f"t{number}", actor.name, lane, b"{}")
        if kind == "tick":
            due = datetime.fromtimestamp(60 * number, UTC)
            task = replace(task, id=ScheduleKey(actor.name).tick(due), schedule=IntervalSeconds(60).text)
        tasks.append((task, delay_s))
    actors = _limit(actors, rng)
    return Scenario(tuple(tasks), actors, rng.randint(2, 3), rng.randint(1, 3))


def _limit(actors: dict[str, Actor], rng: Random) -> dict[str, Actor]:
    """Put some under the rate limiter, in some worlds; the others stay as their seed had them before."""
    own = Random()
    own.setstate(rng.getstate())
    if own.random() < 0.7:
        return actors
    return {name: replace(actor, limited=own.random() < 0.7) for name, actor in actors.items()}
