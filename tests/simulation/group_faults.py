"""The faults that befall conductors, and those of workers and broker that matter to groups."""

from typing import Final, Protocol

from natsume.model import times

from . import faults
from .faults import Stage
from .group_worlds import GroupWorld
from .reactor import Conductor
from .records import START


class GroupStage(Stage, Protocol):
    """What a fault may reach in a world with groups."""

    world: GroupWorld
    conductors: list[Conductor]

    def some_conductor(self) -> Conductor:
        """Any of the conductors."""
        ...

    def kill_conductor(self, conductor: Conductor) -> None:
        """End a conductor; another starts."""
        ...

    def pass_time(self, passed_s: float) -> None:
        """Let time go by while everyone keeps alive what it has."""
        ...

    def replay_one(self) -> None:
        """An operator replays a dead letter."""
        ...


def kill_conductor(stage: GroupStage) -> None:
    """A conductor dies; what it had on its way takes place, or not, or in part."""
    stage.kill_conductor(stage.some_conductor())


def lose_answer_to_conductor(stage: GroupStage) -> None:
    """A conductor never learns whether its effect took place; it begins again."""
    stage.some_conductor().cannot_tell()


def stall_conductor(stage: GroupStage) -> None:
    """The conductor with most in hand stops for a while; what it had sent arrives."""
    conductor = max(stage.conductors, key=lambda conductor: len(conductor.taken) + (not conductor.idle))
    if conductor.sent is not None:
        conductor.advance()
    conductor.stalled_until = stage.world.now + stage.rng.choice((5.0, 35.0, 300.0))
    stage.note(f"{conductor.name} stalls until {conductor.stalled_until}")


def deliver_record_twice(stage: GroupStage) -> None:
    """The broker takes a delivery of a record for lost and brings it to another conductor as well."""
    pending = [fed for fed in stage.world.feed.values() if fed.deadline is not None]
    if pending:
        fed, conductor = stage.rng.choice(pending), stage.some_conductor()
        stage.note(f"record {fed.sequence} is delivered again, to {conductor.name}")
        conductor.take(fed)


def crash_broker(stage: GroupStage) -> None:
    """The broker dies and restarts; conductors lose their connections as workers do."""
    faults.crash_broker(stage)
    for conductor in stage.conductors:
        conductor.lose_connection()


def pass_time(stage: GroupStage) -> None:
    """Everything is quiet for longer than the server remembers message ids, but not past the horizon of records."""
    if stage.world.now - START < times.PLAIN_TTL_S / 2:
        stage.pass_time(130.0)


def replay(stage: GroupStage) -> None:
    """An operator replays a dead letter."""
    stage.replay_one()


ALL: Final = (
    kill_conductor,
    kill_conductor,
    lose_answer_to_conductor,
    stall_conductor,
    stall_conductor,
    deliver_record_twice,
    crash_broker,
    crash_broker,
    pass_time,
    replay,
    replay,
    faults.kill_worker,
    faults.lose_answer,
    faults.deliver_twice,
    faults.fire_twice,
    faults.stall,
    faults.delay_ack,
)
