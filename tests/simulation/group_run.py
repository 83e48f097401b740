"""The scheduler of worlds with groups: workers that spawn, two or three conductors, and what befalls them."""

from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from datetime import UTC, datetime
from random import Random
from typing import Any, Final
from unittest.mock import patch

import msgspec

from natsume.children import Children
from natsume.core import effects as do
from natsume.core import events as ev
from natsume.model import limits
from natsume.model.record import Chunk
from natsume.model.task import State, Task

from . import group_faults, group_scenario
from .carry import Carry
from .group_laws import GroupLaws
from .group_scenario import Plan
from .group_worlds import GroupWorld
from .locks.clock import stepping
from .planted import NOTHING, Planted
from .reactor import EVERYTHING_IS_SUSPECT, Conductor
from .run import Report, Simulation
from .runs import Run
from .scenario import LANE
from .worker import Worker

CHUNK_MAX: Final = 700


class Made(msgspec.Struct):
    """A child as its actor makes it; it stands for its own actor in the registry."""

    name: str
    body: bytes
    lane: str = str(LANE)
    unique: None = None
    dlq_eligible: bool = False
    rights: None = None

    @property
    def arguments(self) -> "Made":
        return self

    def check(self, _task: object) -> bytes:
        return self.body


class Roster:
    """A registry in which each task is its own actor."""

    def of(self, task: Made) -> Made:
        return task


class Cut(Exception):
    """The worker dies here."""


class GroupCarry(Carry):
    """Carries out what spawning actors do."""

    def _execute(self, run: Run, effect: do.Execute) -> ev.Event:
        world = self._world
        assert isinstance(world, GroupWorld)
        if run.delivery.task.id in world.fixed:
            return self._returned(run)
        self.spawn(run)
        return super()._execute(run, effect)

    def spawn(self, run: Run, chunks_max: int = 1_000) -> Children:
        """Let the actor of a run spawn; it dies where it would write more chunks."""
        task, plan, world = run.delivery.task, run.actor, self._world
        assert isinstance(plan, Plan)
        assert isinstance(world, GroupWorld)
        written: list[Chunk] = []

        async def write(number: int, chunk: Chunk) -> None:
            if len(written) >= chunks_max:
                raise Cut
            written.append(chunk)
            world.write_chunk(task.id, run.nonce, number, chunk)

        children = Children(Roster(), task, _never, write)  # type: ignore[arg-type]
        at_once(self._spawn(plan, children, run.nonce.encode(), Random(run.nonce)))
        return children

    async def _spawn(self, plan: Plan, children: Children, nonce: bytes, rng: Random) -> None:
        for name in _some(plan.loose, plan, rng):
            due = datetime.fromtimestamp(self._world.now + 3.0, UTC) if plan.delays else None
            await children.schedule(Made(name, nonce), at=due, labels=None, now=False)
        for group in plan.groups:
            made = [Made(name, nonce) for name in _some(group.members, plan, rng)]
            alarm = Made(group.alarm, nonce) if group.alarm else None
            callback = Made(group.callback, nonce)
            await children.spawn_with_callback(made, callback, on_failure=alarm, when=group.when)

    def _returned(self, run: Run) -> ev.Event:
        children = self.spawn(run)
        chunks = self._world.chunks.get(run.delivery.task.id, {})  # type: ignore[attr-defined]
        in_chunks = [child for number in range(children.chunks) for child in chunks[run.nonce, number].children]
        self._laws.spawns(run.delivery.task.id, in_chunks + children.collected, children.groups)  # type: ignore[attr-defined]
        now = self._world.now
        return ev.Returned(run.started_at, now, b"null", children.collected, children.groups, children.chunks)


def _some(names: tuple[str, ...], plan: Plan, rng: Random) -> tuple[str, ...]:
    return names[: rng.randint(0, len(names))] if plan.varies else names


async def _never(_task: Task, _due: float | None) -> None:
    raise AssertionError("nothing is submitted before the commit")


def at_once(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


class GroupWorker(Worker):
    """A worker whose actors spawn."""

    carries = GroupCarry

    def die_spawning(self, run: Run) -> None:
        """Leave some of the chunks of a run that is cut short."""
        assert isinstance(self.carry, GroupCarry)
        try:
            self.carry.spawn(run, self._rng.randint(0, 3))
        except Cut:
            return


class GroupSimulation(Simulation):
    """One world with groups."""

    draws = staticmethod(group_scenario.draw)
    dangers = group_faults.ALL
    cancels = False
    worlds, watches, works = GroupWorld, GroupLaws, GroupWorker
    world: GroupWorld
    laws: GroupLaws

    def __init__(self, seed: int, planted: Planted, say: Callable[[str], None] | None = None) -> None:
        self._conductor_names = 0
        self.conductors: list[Conductor] = []
        super().__init__(seed, planted, say)
        for _ in range(self.rng.randint(2, 3)):
            self.conductors.append(self._conductor())

    def some_conductor(self) -> Conductor:
        """Any of the conductors."""
        return self.rng.choice(self.conductors)

    def kill(self, worker: Worker) -> None:
        """End a process; what it was spawning is cut short."""
        assert isinstance(worker, GroupWorker)
        for run in worker.runs:
            if isinstance(run.sent, do.Execute) and self.rng.random() < 0.5:
                worker.die_spawning(run)
        super().kill(worker)

    def kill_conductor(self, conductor: Conductor) -> None:
        """End a conductor; another starts."""
        self.note(f"{conductor.name} dies")
        if conductor.sent is not None:
            conductor.happen_unseen(conductor.sent)
        self.conductors[self.conductors.index(conductor)] = self._conductor()

    def pass_time(self, passed_s: float) -> None:
        """Let time go by while everyone keeps alive what it has."""
        for _ in range(int(passed_s / 5.0)):
            self._tick(5.0)

    def replay_one(self) -> None:
        """An operator replays a dead letter of which no copy is left."""
        dead = [task for task in self.laws.tasks.values() if self._is_dead(task)]
        if dead:
            task = self.rng.choice(dead)
            self.note(f"{task.id} is replayed")
            self.laws.doubled(task.id)
            self.laws.replayed(task.id)
            self.world.replay(task)

    def _is_dead(self, task: Task) -> bool:
        done = self.world.done(task.id)
        if done is None or done.state is not State.FAILED or done.attempt > 1 or self.world.has_copy(task.id):
            return False
        return not any(run.delivery.task.id == task.id for worker in self.workers for run in worker.runs)

    def _tick(self, passed_s: float) -> None:
        super()._tick(passed_s)
        for conductor in self.conductors:
            conductor.keep_alive()

    def _conductor(self) -> Conductor:
        self._conductor_names += 1
        conductor = Conductor(f"c{self._conductor_names}", self.world, self.rng)
        getattr(self._planted, "spoil_conductor", lambda _: None)(conductor)
        return conductor

    def _turn(self) -> None:
        if self.rng.random() < 0.45:
            self._conduct(self.some_conductor())
        else:
            super()._turn()

    def _conduct(self, conductor: Conductor) -> bool:
        if conductor.stalled_until > self.world.now:
            return False
        if conductor.boot_mark == EVERYTHING_IS_SUSPECT and self.rng.random() < 0.3:
            conductor.refresh()
        unread = self.world.unread()
        if unread and self.rng.random() < 0.4 and conductor.take(self.rng.choice(unread)):
            return True
        busy = not conductor.idle
        conductor.advance()
        return busy

    def _quiet_round(self) -> bool:
        moved = super()._quiet_round()
        for conductor in self.conductors:
            moved |= self._conduct(conductor)
        return moved

    def _unfinished(self) -> bool:
        return super()._unfinished() or bool(self.world.feed) or not all(one.idle for one in self.conductors)


def simulate(seed: int, planted: Planted = NOTHING, say: Callable[[str], None] | None = None) -> Report:
    """Play one world with groups; the law it breaks, if any, is in the report."""
    with patch.object(limits, "CHUNK_MAX", CHUNK_MAX), getattr(planted, "in_place", nullcontext)(), stepping():
        sim = GroupSimulation(seed, planted, say)
        try:
            sim.run()
        except AssertionError as broken:
            return Report(seed, sim.turns, broken)
        return Report(seed, sim.turns)
