"""Those who cancel tasks in a world: the flag, the end of what waits, the schedule last; any may die in between."""

from random import Random

from natsume.core import outcome
from natsume.core.events import Flagged
from natsume.model.task import Task
from natsume.model.told import Flag

from .laws import Laws
from .worker import Worker
from .world import World

_WORLDS = 0.4
_RATE = 0.15


class Canceller:
    """One call of `cancel`, or what a conductor goes on with."""

    def __init__(self, world: World, laws: Laws, task_id: str, nonce: str) -> None:
        self._world, self._laws, self._id, self._nonce = world, laws, task_id, nonce
        self._flag = Flag(task_id, "anna", world.now)
        self._seen: list[str] | None = None
        steps = [self._look, self._commit, self._remove]
        if not world.options.commit_before_removal:
            steps = [self._look, self._remove, self._commit]
        self._steps = [self._put, *steps]

    def advance(self) -> bool:
        """One step; False after the last."""
        self._steps.pop(0)()
        return bool(self._steps)

    def _put(self) -> None:
        if self._world.done(self._id) is None:
            self._flag = self._world.flags.setdefault(self._id, self._flag)
        else:
            self._steps.clear()

    def _look(self) -> None:
        hops = sorted((lies.task.hop, name) for name, lies in self._world.later.items() if lies.task.id == self._id)
        self._seen = [name for _, name in hops]
        self._task: Task | None = self._world.later[self._seen[-1]].task if hops else None
        if not hops:
            self._steps.clear()

    def _commit(self) -> None:
        assert self._task is not None
        event = Flagged(self._world.now, self._nonce, self._flag)
        record = outcome.flagged_waiting(self._task, "canceller", event)
        if self._world.commit(record):
            self._laws.committed(record)

    def _remove(self) -> None:
        for name in self._seen or ():
            self._world.remove(name)


class Cancelling:
    """All that is cancelled in one world, drawn from a seed of its own: other worlds stay as they were."""

    def __init__(self, seed: int, world: World, laws: Laws) -> None:
        self.rng = Random(f"cancel {seed}")
        self._on = self.rng.random() < _WORLDS
        self._world, self._laws = world, laws
        self._cancellers: list[Canceller] = []
        self._count = 0

    def turn(self, sent: list[tuple[Task, float]], workers: list[Worker]) -> None:
        """Perhaps: somebody cancels, goes on, or dies; a worker hears; a conductor looks."""
        if not self._on or self.rng.random() > _RATE:
            return
        chance = self.rng.random()
        if chance < 0.2 and sent:
            self._begin(self.rng.choice(sent)[0].id)
        elif chance < 0.6 and self._cancellers:
            self._advance(self.rng.choice(self._cancellers))
        elif chance < 0.7 and self._cancellers:
            self._cancellers.remove(self.rng.choice(self._cancellers))
        elif chance < 0.95:
            self.rng.choice(workers).hear()
        else:
            self.round()

    def round(self) -> None:
        """What a conductor does with all flags."""
        for task_id in self._world.flags:
            if self._world.done(task_id) is None:
                self._begin(task_id)

    def end(self) -> None:
        """Nobody dies any more."""
        while self._cancellers:
            self._advance(self._cancellers[0])

    def _begin(self, task_id: str) -> None:
        self._count += 1
        self._cancellers.append(Canceller(self._world, self._laws, task_id, f"canceller-{self._count}"))

    def _advance(self, canceller: Canceller) -> None:
        if not canceller.advance():
            self._cancellers.remove(canceller)
