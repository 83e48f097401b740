"""The faults: each does to a world what was seen of the real server, network or process."""

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from natsume.core import effects as do
from natsume.model.task import Task

from .laws import Laws
from .worker import Worker
from .world import World


class Stage(Protocol):
    """What a fault may reach."""

    rng: Random
    world: World
    laws: Laws
    workers: list[Worker]
    sent: list[tuple[Task, float]]
    floating: list[int]

    def some_worker(self) -> Worker:
        """Any of the workers."""
        ...

    def kill(self, worker: Worker) -> None:
        """End a process; another with its number starts."""
        ...

    def note(self, what: str) -> None:
        """One line of the trace."""
        ...


Fault = Callable[[Stage], None]


def kill_worker(stage: Stage) -> None:
    """A worker dies; what it had on its way takes place or not."""
    stage.kill(stage.some_worker())


def lose_answer(stage: Stage) -> None:
    """An effect takes place or not, and its worker never learns which."""
    worker = stage.some_worker()
    waiting = [run for run in worker.runs if run.awaits_answer]
    if waiting:
        worker.cannot_tell(stage.rng.choice(waiting), done=stage.rng.random() < 0.5)


def deliver_twice(stage: Stage) -> None:
    """The broker takes a delivery for lost and brings it again while it is dealt with.

    One that is only buffered is not brought again before `ack_wait`, and then its worker doubts it.
    """
    open_ones = {run.delivery.sequence for worker in stage.workers for run in worker.runs}
    pending = [m for m in stage.world.tasks.values() if m.deadline is not None and m.sequence in open_ones]
    worker = stage.some_worker()
    if pending and worker.connected and not worker.draining:
        message = stage.rng.choice(pending)
        stage.note(f"seq {message.sequence} is delivered again, to {worker.name}")
        stage.laws.doubled(message.task.id)
        for run in [run for other in stage.workers for run in other.runs]:
            if run.delivery.sequence == message.sequence:
                run.delivery.doubted = True  # its worker has not extended it for so long, and knows that
        worker.arrived(message)


def crash_broker(stage: Stage) -> None:
    """The broker dies and restarts: deliveries, counts and some acknowledgements are forgotten."""
    stage.note("the broker crashes")
    share = stage.rng.random()
    for message in stage.world.tasks.values():
        stage.laws.excuse(message.task.id)
    for name in sorted(stage.world.purges & stage.world.later.keys()):
        stage.note(f"{name} will fire twice")
        stage.laws.excuse(stage.world.later[name].task.id)
    for message in stage.world.crash(lambda: stage.rng.random() < share):
        stage.note(f"seq {message.sequence}, acknowledged, comes back")
        stage.laws.excuse(message.task.id)
    for worker in stage.workers:
        worker.lose_connection()


def fire_twice(stage: Stage) -> None:
    """A schedule sends its task once more than it should."""
    fired = sorted(stage.world.purges & stage.world.later.keys())
    if fired:
        name = stage.rng.choice(fired)
        stage.note(f"{name} fires once more")
        task_id = stage.world.fire(name).task.id
        stage.laws.excuse(task_id)
        stage.laws.doubled(task_id)


def send_again(stage: Stage) -> None:
    """A client without an answer sends its task again, and says so."""
    if stage.sent:
        task, delay_s = stage.rng.choice(stage.sent)
        stage.note(f"a client sends {task.id} again")
        stage.laws.sent_again(task.id)
        if delay_s:
            stage.world.arm(task, stage.world.now + delay_s)
        else:
            stage.world.submit(task, resent=True)


def stall(stage: Stage) -> None:
    """A worker stops for a while, and its heartbeats and renewals with it."""
    worker = max(stage.workers, key=lambda worker: len(worker.buffer))
    worker.unheard()
    worker.stalled_until = stage.world.now + stage.rng.choice((5.0, 35.0, 60.0))
    stage.note(f"{worker.name} stalls until {worker.stalled_until}")


def release_by_hand(stage: Stage) -> None:
    """An operator releases a lock; its holder learns that when it renews."""
    held = stage.world.bucket.held()
    if held:
        name = stage.rng.choice(held)
        stage.note(f"the lock {name} is released by hand")
        stage.world.bucket.release_by_hand(name)


def mute(stage: Stage) -> None:
    """A worker goes on, but its heartbeats and renewals do not get through."""
    worker = stage.some_worker()
    worker.unheard()
    worker.mute_until = stage.world.now + stage.rng.choice((5.0, 35.0, 60.0))
    stage.note(f"{worker.name} is mute until {worker.mute_until}")


def drain(stage: Stage) -> None:
    """A worker is told to stop: it gives back what has not started, and later interrupts what runs."""
    worker = stage.some_worker()
    stage.note(f"{worker.name} is told to stop")
    worker.drain()


def delay_ack(stage: Stage) -> None:
    """An acknowledgement is held up in the network, and arrives when it arrives."""
    worker = stage.some_worker()
    leaving = [run for run in worker.runs if isinstance(run.sent, do.Acknowledge)]
    if leaving:
        run = stage.rng.choice(leaving)
        stage.floating.append(int(run.delivery.token))
        worker.cannot_tell(run, done=False)


ALL: Final[tuple[Fault, ...]] = (
    kill_worker,
    lose_answer,
    lose_answer,
    deliver_twice,
    crash_broker,
    crash_broker,
    fire_twice,
    send_again,
    stall,
    stall,
    mute,
    release_by_hand,
    drain,
    delay_ack,
)
