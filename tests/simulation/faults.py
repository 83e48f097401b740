"""The faults: each does to a world what was seen of the real server, network or process."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from natsume.core import effects as do

from .carry import Run
from .worker import EVERYTHING_IS_SUSPECT

if TYPE_CHECKING:
    from .run import Simulation


def kill_worker(sim: "Simulation") -> None:
    """A worker dies; what it had on its way takes place or not."""
    sim.kill(sim.some_worker())


def lose_answer(sim: "Simulation") -> None:
    """An effect takes place or not, and its worker never learns which."""
    worker = sim.some_worker()
    waiting = [run for run in worker.runs if _has_answer(run)]
    if waiting:
        worker.cannot_tell(sim.rng.choice(waiting), done=sim.rng.random() < 0.5)


def deliver_twice(sim: "Simulation") -> None:
    """The broker takes a delivery for lost and brings it again while it is dealt with.

    One that is only buffered is not brought again before `ack_wait`, and then its worker doubts it.
    """
    open_ones = {run.delivery.sequence for worker in sim.workers for run in worker.runs}
    pending = [m for m in sim.world.tasks.values() if m.deadline is not None and m.sequence in open_ones]
    worker = sim.some_worker()
    if pending and not worker.draining:
        message = sim.rng.choice(pending)
        sim.note(f"seq {message.sequence} is delivered again, to {worker.name}")
        worker.arrived(message)


def crash_broker(sim: "Simulation") -> None:
    """The broker dies and restarts: deliveries, counts and some acknowledgements are forgotten."""
    sim.note("the broker crashes")
    share = sim.rng.random()
    for message in sim.world.tasks.values():
        sim.laws.excuse(message.task.id)
    for name in sorted(sim.world.purges & sim.world.later.keys()):
        sim.note(f"{name} will fire twice")
        sim.laws.excuse(sim.world.later[name].task.id)
    for message in sim.world.crash(lambda: sim.rng.random() < share):
        sim.note(f"seq {message.sequence}, acknowledged, comes back")
        sim.laws.excuse(message.task.id)
    for worker in sim.workers:
        if not worker.ignores_boot_mark:
            worker.boot_mark = EVERYTHING_IS_SUSPECT
            worker.doubt()
        for run in [run for run in worker.runs if _has_answer(run)]:
            worker.cannot_tell(run, done=sim.rng.random() < 0.5)


def fire_twice(sim: "Simulation") -> None:
    """A schedule sends its task once more than it should."""
    fired = sorted(sim.world.purges & sim.world.later.keys())
    if fired:
        name = sim.rng.choice(fired)
        sim.note(f"{name} fires once more")
        sim.laws.excuse(sim.world.fire(name).task.id)


def send_again(sim: "Simulation") -> None:
    """A client without an answer sends its task again, and says so."""
    if sim.sent:
        task, delay_s = sim.rng.choice(sim.sent)
        sim.note(f"a client sends {task.id} again")
        sim.laws.sent_again(task.id)
        if delay_s:
            sim.world.arm(task, sim.world.now + delay_s)
        else:
            sim.world.submit(task, resent=True)


def stall(sim: "Simulation") -> None:
    """A worker stops for a while, and its heartbeats and renewals with it."""
    worker = sim.some_worker()
    worker.stalled_until = sim.world.now + sim.rng.choice((5.0, 35.0, 60.0))
    sim.note(f"{worker.name} stalls until {worker.stalled_until}")


def mute(sim: "Simulation") -> None:
    """A worker goes on, but its heartbeats and renewals do not get through."""
    worker = sim.some_worker()
    worker.mute_until = sim.world.now + sim.rng.choice((5.0, 35.0, 60.0))
    sim.note(f"{worker.name} is mute until {worker.mute_until}")


def drain(sim: "Simulation") -> None:
    """A worker is told to stop: it gives back what has not started, and later interrupts what runs."""
    worker = sim.some_worker()
    sim.note(f"{worker.name} is told to stop")
    worker.drain()


def delay_ack(sim: "Simulation") -> None:
    """An acknowledgement is held up in the network, and arrives when it arrives."""
    worker = sim.some_worker()
    leaving = [run for run in worker.runs if isinstance(run.sent, do.Acknowledge)]
    if leaving:
        run = sim.rng.choice(leaving)
        sim.floating.append(int(run.delivery.token))
        worker.cannot_tell(run, done=False)


def _has_answer(run: Run) -> bool:
    return run.sent is not None and not isinstance(run.sent, do.Execute | do.Isolate)


ALL: Final[tuple[Callable[["Simulation"], None], ...]] = (
    kill_worker,
    lose_answer,
    lose_answer,
    deliver_twice,
    crash_broker,
    fire_twice,
    send_again,
    stall,
    mute,
    drain,
    delay_ack,
)
