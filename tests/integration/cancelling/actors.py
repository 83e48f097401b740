"""Actors to cancel; what they did is in `RAN`."""

import asyncio
from dataclasses import dataclass

from natsume import BaseTask, MutexLock, chain
from natsume.control import TaskControl, comment, progress, should_cancel
from natsume.depends import CallbackSpawner
from natsume.exceptions import CancelHonoured, Snooze
from natsume.lock_registry import LockedObjectType
from natsume.model.record import When
from natsume.retry_policies import ExponentialBackoff

RAN: list[str] = []


class Go:
    """Lets all go that wait, in each test's own loop."""

    def __init__(self):
        self.clear()

    def clear(self):
        self._event = asyncio.Event()
        self.set, self.is_set, self.wait = self._event.set, self._event.is_set, self._event.wait


GO = Go()


@dataclass
class Quick(BaseTask):
    name: str = "quick"

    async def execute(self):
        RAN.append(self.name)


@dataclass
class Patient(BaseTask):
    """Runs until it is told to stop, or that it may go; asks each few milliseconds."""

    name: str = "patient"

    async def execute(self, control: TaskControl):
        RAN.append(self.name)
        while not GO.is_set():
            stop = control.should_cancel()
            if stop:
                raise CancelHonoured(f"stopped: {stop}")
            await asyncio.sleep(0.005)
        return "finished anyway"


@dataclass
class Fleeting(Patient):
    """Is of no use once its worker is gone."""

    drop_on_shutdown = True


@dataclass
class Deaf(BaseTask):
    """Does not ask."""

    async def execute(self):
        RAN.append("deaf")
        await GO.wait()
        return should_cancel()


@dataclass
class Parent(BaseTask):
    """Has children, whatever it is told."""

    later_s: float = 0.0

    async def execute(self):
        RAN.append("parent")
        await GO.wait()
        await Quick("child").schedule()
        await Quick("other child").schedule()


@dataclass
class Interruptible(BaseTask):
    cancel = "interrupt"

    async def execute(self):
        RAN.append("interruptible")
        try:
            await asyncio.Event().wait()
        finally:
            RAN.append("cleaned up")


@dataclass
class Failing(BaseTask):
    retry_policy = ExponentialBackoff(base_delay_seconds=3600)

    async def execute(self):
        RAN.append("failing")
        await GO.wait()
        raise OSError("no")


@dataclass
class Sleepy(BaseTask):
    async def execute(self):
        RAN.append("sleepy")
        raise Snooze(3600)


@dataclass
class Locked(BaseTask):
    name: str

    @property
    def execution_locks(self):
        return [MutexLock(LockedObjectType.TASK, "one")]

    async def execute(self):
        RAN.append(self.name)
        await GO.wait()


@dataclass
class Family(BaseTask):
    """A group of one member that waits for hours and one that is quick, and a callback after all have ended."""

    async def execute(self, spawner: CallbackSpawner):
        await spawner.spawn_with_callback(
            [Sleepy(), Quick("member")], Quick("callback"), on_failure=Quick("alarm"), when=When.ALL_DONE
        )


@dataclass
class Crowd(BaseTask):
    """A group of which one member sleeps for hours, a callback and an alarm; with `wait`, once it may go."""

    when: When = When.ALL_SUCCEEDED
    wait: bool = False

    async def execute(self, spawner: CallbackSpawner):
        RAN.append("crowd")
        if self.wait:
            await GO.wait()
        return await spawner.spawn_with_callback(
            [Sleepy(), Quick("member")], Quick("callback"), on_failure=Quick("alarm"), when=self.when
        )


@dataclass
class Dormitory(BaseTask):
    """A group whose members all sleep for hours."""

    count: int

    async def execute(self, spawner: CallbackSpawner):
        await spawner.spawn_with_callback([Sleepy() for _ in range(self.count)], Quick("callback"))


@dataclass
class Pair(BaseTask):
    """A group whose callback runs until it is told to stop."""

    async def execute(self, spawner: CallbackSpawner):
        await spawner.spawn_with_callback([Quick("one"), Quick("two")], Patient())


@dataclass
class Line(BaseTask):
    """A chain of which the first link sleeps for hours."""

    async def execute(self):
        return await chain(Sleepy(), Quick("second"), Quick("third")).schedule()


@dataclass
class Herd(BaseTask):
    """Has children at once: one that sleeps for hours and, of its own, another; waits until it may go."""

    deep: int = 1

    async def execute(self):
        RAN.append("herd")
        await Sleepy().schedule(now=True)
        if self.deep:
            await Herd(self.deep - 1).schedule(now=True)
        await GO.wait()


@dataclass
class Hen(BaseTask):
    """Has a child at once that runs until it is told to stop."""

    async def execute(self):
        await Patient("chick").schedule(now=True)
        await GO.wait()


@dataclass
class Sleepers(BaseTask):
    """Has children that sleep for hours."""

    count: int

    async def execute(self):
        RAN.append("sleepers")
        await GO.wait()
        for _ in range(self.count):
            await Sleepy().schedule()


@dataclass
class Talking(BaseTask):
    count: int

    async def execute(self):
        for number in range(self.count):
            await progress(number + 1, self.count, f"step {number + 1}")
        await comment("half of it was skipped")
        RAN.append("talked")
        await GO.wait()


ACTORS = {
    f"cancel:{actor.__name__}": actor
    for actor in (
        Quick,
        Patient,
        Fleeting,
        Deaf,
        Parent,
        Interruptible,
        Failing,
        Sleepy,
        Locked,
        Family,
        Crowd,
        Dormitory,
        Pair,
        Line,
        Herd,
        Hen,
        Sleepers,
        Talking,
    )
}
