"""The scheduler: one seed chooses what happens next among workers, broker, clock and faults."""

from collections.abc import Callable
from random import Random

import msgspec

from natsume.core import effects as do
from natsume.model.task import Task

from . import faults
from .breach import LawBroken
from .cancelling import Cancelling
from .crew import Crew
from .locks.clock import stepping
from .planted import NOTHING, Planted
from .runs import Killed, Run
from .worker import Worker

_TURNS_PER_TASK = 50
_QUIET_ROUNDS_MAX = 3_000
_TICKS_S = (0.1, 0.5, 1.0, 2.0, 10.0)
_TEMPI = (0.03, 0.08, 0.2)
_FAULT_RATES = (0.01, 0.03, 0.08, 0.2)


class Report(msgspec.Struct, frozen=True):
    """How a world went."""

    seed: int
    turns: int
    broken: LawBroken | AssertionError | None = None


class Simulation(Crew):
    """One world from its first submission to its silence."""

    dangers: tuple[faults.Fault, ...] = faults.ALL
    cancels = True

    def __init__(self, seed: int, planted: Planted, say: Callable[[str], None] | None = None) -> None:
        rng = Random(seed)
        super().__init__(rng, planted, say)
        self.sent: list[tuple[Task, float]] = []
        self.floating: list[int] = []
        self.turns = 0
        self._unsent = list(self.scenario.tasks)
        self._tempo = rng.choice(_TEMPI)
        self._faults = rng.sample(self.dangers, rng.randint(1, len(self.dangers)))
        self._fault_rate = rng.choice(_FAULT_RATES)
        self._cancelling = Cancelling(seed, self.world, self.laws) if self.cancels else None

    def run(self) -> None:
        """Play the world; raises LawBroken."""
        for task, _ in self.scenario.tasks:
            self.note(f"{task.id}: {self.scenario.actors[task.actor]}")
        for _ in range(_TURNS_PER_TASK * len(self.scenario.actors)):
            self.turns += 1
            self._turn()
            self.laws.locks.held(self._held())
        self._quiet()
        self.laws.end()

    def _turn(self) -> None:
        rng = self.rng
        if self._cancelling is not None:
            self._cancelling.turn(self.sent, self.workers)
        chance = rng.random()
        if chance < self._fault_rate:
            rng.choice(self._faults)(self)
            return
        if rng.random() < self._tempo:
            passed_s = rng.choice(_TICKS_S)
            self._tick(passed_s if rng.random() < 0.2 else self._until_a_place(passed_s))
            return
        chance = rng.random()
        if chance < 0.74:
            self._work(self.some_worker())
        elif chance < 0.86:
            self._deliver(self.some_worker())
        elif chance < 0.92:
            self._submit()
        elif chance < 0.98 or not self.floating:
            self._schedules()
        else:
            self._late_ack()

    def _work(self, worker: Worker) -> None:
        """One step of one worker: open, advance, learn of a loss, note a start, refresh, end a drain."""
        if worker.stalled_until > self.world.now:
            return
        chance = self.rng.random()
        if not worker.connected and chance < 0.3:
            worker.refresh()
        elif worker.can_open() and chance < 0.4:
            worker.open()
        elif worker.draining and chance < 0.45:
            self._stop(worker)
        elif worker.runs:
            run = worker.runs[int(self.rng.random() * len(worker.runs))]
            if run.lost_untold and chance < 0.7:
                worker.lease_gone(run)
            elif isinstance(run.sent, do.Execute) and not run.noted and chance > 0.95:
                worker.note(run)
            else:
                self._advance(worker, run)

    def _advance(self, worker: Worker, run: Run) -> bool:
        if not worker.can_advance(run):
            return False
        try:
            worker.advance(run)
        except Killed:
            for other in worker.runs:
                if other is not run and isinstance(other.sent, do.Execute):
                    self.laws.killed_by_neighbour(other.seen)
            self.note(f"{run.delivery.task.id} kills its worker")
            self.kill(worker)
        return True

    def _stop(self, worker: Worker) -> None:
        """Interrupt what runs; then let go of what is left and leave."""
        running = [run for run in worker.runs if isinstance(run.sent, do.Execute) and not run.interrupted]
        if running:
            for run in running:
                run.interrupted = True
        elif not worker.runs or self.rng.random() < 0.1:
            for run in list(worker.runs):
                worker.abandon(run)
            self.note(f"{worker.name} leaves")
            self._replace(worker)

    def _deliver(self, worker: Worker) -> bool:
        if worker.stalled_until > self.world.now or not worker.room():
            return False
        available = self.world.available()
        if available:
            worker.arrived(self.rng.choice(available))
        return bool(available)

    def _submit(self) -> None:
        if not self._unsent:
            return
        task, delay_s = self._unsent.pop()
        self.sent.append((task, delay_s))
        if delay_s:
            self.world.arm(task, self.world.now + delay_s)
        else:
            self.world.submit(task, resent=False)

    def _schedules(self) -> bool:
        due = self.world.due()
        purges = sorted(self.world.purges)
        if not due and not purges:
            return False
        if purges and (not due or self.rng.random() < 0.5):
            name = self.rng.choice(purges)
            self.world.purge(name)
            self.note(f"{name} is purged")
        else:
            name = self.rng.choice(due)
            self.note(f"{name} fires as seq {self.world.fire(name).sequence}")
        return True

    def _late_ack(self) -> None:
        message = self.world.acknowledge(self.floating.pop())
        if message is not None:
            self.laws.removed(message)

    def _quiet(self) -> None:
        """No more faults: everything must come to its end."""
        self.note("the faults end")
        while self._unsent:
            self._submit()
        while self.floating:
            self._late_ack()
        for worker in self.workers:
            worker.stalled_until = worker.mute_until = 0.0
        for _ in range(_QUIET_ROUNDS_MAX):
            self.turns += 1
            if not self._quiet_round():
                if not self._unfinished():
                    return
                self._tick(self._until_a_place(5.0))
        raise LawBroken("everything ends", f"{len(self.world.tasks)} tasks, {list(self.world.later)} are left")

    def _quiet_round(self) -> bool:
        if self._cancelling is not None:
            self._cancelling.round()
            self._cancelling.end()
        moved = self._schedules()
        for worker in list(self.workers):
            if not worker.connected:
                worker.refresh()
            moved |= self._deliver(worker)
            if worker.draining:
                self._stop(worker)
            if worker.can_open():
                worker.open()
                moved = True
            for run in list(worker.runs):
                if run.lost_untold:
                    worker.lease_gone(run)
                if run in worker.runs and worker in self.workers:
                    moved |= self._advance(worker, run)
        return moved

    def _unfinished(self) -> bool:
        return bool(self.world.tasks or self.world.later or any(worker.runs for worker in self.workers))


def simulate(seed: int, planted: Planted = NOTHING, say: Callable[[str], None] | None = None) -> Report:
    """Play one world; the law it breaks, if any, is in the report."""
    sim = Simulation(seed, planted, say)
    try:
        with stepping():
            sim.run()
    except AssertionError as broken:
        return Report(seed, sim.turns, broken)
    return Report(seed, sim.turns)
