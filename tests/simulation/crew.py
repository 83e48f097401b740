"""All who work in a world: they start, die and are replaced, and time goes by for them."""

from collections.abc import Callable, Iterator
from random import Random

from natsume.core import effects as do
from natsume.ports import Lease

from . import scenario
from .intake import until
from .laws import Laws
from .planted import Planted
from .records import START
from .worker import Worker
from .world import World


class Crew:
    """The workers of one world."""

    draws, worlds, watches, works = staticmethod(scenario.draw), World, Laws, Worker

    def __init__(self, rng: Random, planted: Planted, say: Callable[[str], None] | None) -> None:
        self.rng = rng
        self.scenario = self.draws(rng)
        self.world = self.worlds(planted.options, say)
        self.laws = self.watches(self.world, self.scenario)
        self._planted = planted
        self._names = 0
        self.world.goes_on = self._goes_on
        self.workers = [self._worker(number) for number in range(self.scenario.workers)]

    def some_worker(self) -> Worker:
        """Any of the workers."""
        return self.workers[int(self.rng.random() * len(self.workers))]

    def kill(self, worker: Worker) -> None:
        """End a process; another with its number starts."""
        self.note(f"{worker.name} dies")
        for run in worker.runs:
            if run.sent is not None and not isinstance(run.sent, do.Execute) and self.rng.random() < 0.5:
                worker.arrive_unseen(run)
        for run in worker.runs:
            run.stop()
            run.seen.excused = True
            self.laws.ended(run.seen, told=False)
        self._replace(worker)

    def note(self, what: str) -> None:
        """One line of the trace."""
        if self.world.say is not None:
            self.world.say(f"{self.world.now - START:7.1f} {what}")

    def _goes_on(self, nonce: str) -> bool | None:
        asked = [worker for worker in self.workers if nonce.rpartition("-")[0] == worker.name and worker.answers]
        return any(run.nonce == nonce for run in asked[0].runs) if asked else None

    def _worker(self, number: int) -> Worker:
        self._names += 1
        worker = self.works(number, f"w{number}.{self._names}", self.world, self.laws, self.scenario, self.rng)
        self._planted.spoil(worker)
        return worker

    def _replace(self, worker: Worker) -> None:
        self.workers[self.workers.index(worker)] = self._worker(worker.number)

    def _tick(self, passed_s: float) -> None:
        """Time goes by; workers that can extend their deliveries and renew their leases.

        A broker that has started anew does not wait to fire once more what it had fired and not purged.
        """
        for name in sorted(self.world.refiring & self.world.later.keys()):
            self.note(f"{name} fires again as seq {self.world.fire(name).sequence}")
        self.world.now += passed_s
        for worker in self.workers:
            if worker.stalled_until <= self.world.now:
                worker.come()
            worker.keep_alive()
            worker.come_late()

    def _held(self) -> Iterator[Lease]:
        """All leases that their holders believe in."""
        for worker in self.workers:
            for run in worker.runs:
                if run.leases and not run.lost and not run.lost_untold:
                    yield from filter(worker.locks.holds, run.leases)

    def _until_a_place(self, at_most_s: float) -> float:
        """Not beyond the next timer or schedule of a task with a place, and little while one is about to start."""
        runs = [run for worker in self.workers for run in worker.runs]
        if any(run.grants and not isinstance(run.sent, do.Execute | do.Isolate) for run in runs):
            return 0.01
        ends = [until(delivery) for worker in self.workers for delivery in worker.aside]
        ends += [lies.at for lies in self.world.later.values() if lies.task.grants]
        return min([at_most_s, *(at - self.world.now for at in ends if at > self.world.now)])
