"""What a world is made of: its tasks and what their actors do when they run."""

from random import Random

import msgspec

from natsume.core.delivery import Rules
from natsume.enums import Priority, Size
from natsume.model.subject import Lane
from natsume.model.task import Task

CRASHES_MAX = 3
LANE = Lane(Priority.NORMAL, Size.SMALL)
OTHER_LANE = Lane(Priority.BACKGROUND, Size.SMALL)

KINDS = ("plain", "plain", "flaky", "failing", "snoozing", "poison", "misplaced", "rare", "stray")


class Actor(msgspec.Struct, frozen=True):
    """One task's own actor; `rounds` is how often it fails or snoozes before it succeeds."""

    name: str
    kind: str
    rounds: int
    retries_max: int
    keys: tuple[str, ...]
    drop_on_shutdown: bool
    dlq_eligible: bool

    def rules(self, worker: str) -> Rules:
        """What its worker tells the table."""
        return Rules(self.name, LANE, self.dlq_eligible, self.drop_on_shutdown, CRASHES_MAX, worker=worker)

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
            keys=rng.choice(((), (), ("a",), ("a",), ("b",), ("a", "b"))),
            drop_on_shutdown=rng.random() < 0.3,
            dlq_eligible=rng.random() < 0.5,
        )
        actors[actor.name] = actor
        lane = OTHER_LANE if kind == "misplaced" else LANE
        delay_s = rng.choice((0.0, 0.0, 0.0, 0.0, 3.0))
        tasks.append((Task(f"t{number}", actor.name, lane, b"{}"), delay_s))
    return Scenario(tuple(tasks), actors, rng.randint(2, 3), rng.randint(1, 3))
