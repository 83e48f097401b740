"""The simulated broker: what the server was measured to do, and what it was measured to forget.

It knows no faults: `faults` asks it for what a crash or a lost answer does. Times are seconds.
"""

from collections.abc import Callable

import msgspec

from natsume.core import gcra
from natsume.core.delivery import Boot
from natsume.core.gcra import Asked, Quota
from natsume.model import subject
from natsume.model.limit_rule import Share
from natsume.model.task import Task
from natsume.model.times import SETTLE_S
from natsume.model.told import Flag

from .locking import Bucket
from .records import Records

ACK_WAIT_S = 30.0
STRIKE = "strike"
STRIKE_S = 20.0
"""How long a world without an operator lets a task wait for the end of a strike, at most."""


class Message(msgspec.Struct):
    """A ready task in TASKS; it waits for an acknowledgement until `deadline` once it was delivered."""

    sequence: int
    task: Task
    resent: bool = False
    fired: bool = False
    delivered: int = 0
    deadline: float | None = None
    stored_at: float = 0.0


class Schedule(msgspec.Struct):
    """A task that lies on its `later` subject until its time, or in the line of a lock."""

    task: Task
    at: float
    waits_for: str | None = None


class Options(msgspec.Struct, frozen=True):
    """What a planted bug changes about the adapters' use of the broker."""

    done_is_fenced: bool = True
    later_is_fenced: bool = True
    hop_in_subject: bool = True
    commit_before_removal: bool = True
    writes_are_fenced: bool = True


class World(Records):
    """TASKS, the locks and the boot marks, beside the records."""

    def __init__(self, options: Options, say: Callable[[str], None] | None = None) -> None:
        super().__init__(done_is_fenced=options.done_is_fenced)
        self.options = options
        self.say = say
        self.flags: dict[str, Flag] = {}
        self.incarnation = 1
        self.boots: dict[int, Boot] = {}
        self.goes_on: Callable[[str], bool | None] = lambda nonce: None
        self.tasks: dict[int, Message] = {}
        self.removed: dict[int, Message] = {}
        self.message_ids: dict[str, int] = {}
        self.later: dict[str, Schedule] = {}
        self.purges: set[str] = set()
        self.refiring: set[str] = set()
        self.bucket = Bucket(self)
        self.quota = Quota()
        self._fences: dict[str, int] = {}
        self.last_sequence = 0

    # TASKS

    def submit(self, task: Task, *, resent: bool) -> bool:
        """Store a ready task; a first try carries a message id, which the server may know."""
        if not resent and task.id in self.message_ids:
            return False
        message = self._ready(task, resent=resent)
        if not resent:
            self.message_ids[task.id] = message.sequence
        return True

    def arm(self, task: Task, at: float) -> bool:
        """Store a schedule, if nothing lies on its subject; whether it was stored."""
        name = self.later_name(task)
        if self.options.later_is_fenced and name in self.later:
            return False
        self.later[name] = Schedule(task, at)
        return True

    def later_name(self, task: Task) -> str:
        """Where the schedule of this hop lies."""
        return subject.later(task.id, task.hop if self.options.hop_in_subject else 0)

    def due(self) -> list[str]:
        """Subjects whose schedule is due and has not fired."""
        now = self.now
        return [name for name, lies in self.later.items() if lies.at <= now and name not in self.purges]

    def fire(self, name: str) -> Message:
        """First half of a firing: store the ready copy; the purge is due."""
        self.purges.add(name)
        self.refiring.discard(name)
        return self._ready(self.later[name].task, fired=True)

    def purge(self, name: str) -> None:
        """Second half of a firing: purge whatever lies on the subject by now."""
        self.purges.remove(name)
        self.later.pop(name, None)
        self.bucket.line.pop(name, None)

    def remove(self, name: str) -> None:
        """Remove a schedule, whether it is firing or not."""
        self.purges.add(name)
        self.purge(name)

    def deliver(self, message: Message) -> None:
        """Hand a message out once more."""
        message.delivered += 1
        message.deadline = self.now + ACK_WAIT_S

    def available(self) -> list[Message]:
        """What may be delivered: never delivered, given back, or not acknowledged in time."""
        now = self.now
        return [m for m in self.tasks.values() if m.deadline is None or m.deadline <= now]

    def acknowledge(self, sequence: int) -> Message | None:
        """Remove a message, whoever holds it by now: a late acknowledgement is accepted."""
        message = self.tasks.pop(sequence, None)
        if message is not None:
            self.removed[sequence] = message
        return message

    def give_back(self, sequence: int) -> None:
        """Have it delivered again at once."""
        message = self.tasks.get(sequence)
        if message is not None:
            message.deadline = None

    def extend(self, sequence: int) -> None:
        """Start its `ack_wait` anew."""
        message = self.tasks.get(sequence)
        if message is not None and message.deadline is not None:
            message.deadline = self.now + ACK_WAIT_S

    def _ready(self, task: Task, *, resent: bool = False, fired: bool = False) -> Message:
        self.last_sequence += 1
        message = Message(self.last_sequence, task, resent, fired, stored_at=self.now)
        self.tasks[message.sequence] = message
        return message

    # locks

    def keep(self, name: str, task: Task, until: float, key: str) -> None:
        """Have a task that lies in the line of a lock return by itself."""
        self.later[name] = Schedule(task, until, key)

    def send(self, name: str) -> None:
        """Send a task that lies in a line back to its lane."""
        self._ready(self.later.pop(name).task, fired=True)

    def park(self, task: Task, key: str, until: float) -> bool:
        """Store a task in a line that nobody holds, if its hop does not stand there; whether it was stored."""
        name = subject.parked(key, "normal", task.id, task.hop)
        if name in self.later:
            return False
        self.later[name] = Schedule(task, until, key)
        return True

    def write(self, key: str, token: int) -> bool:
        """Write to a database `WHERE fence <= token`; whether it was."""
        if self.options.writes_are_fenced and token < self._fences.get(key, 0):
            return False
        self._fences[key] = token
        return True

    # limiters

    def reserve(self, share: Share) -> float:
        """The time of a place under the one rate limiter."""
        (at,), self.quota = gcra.reserve(self.quota, [Asked(share.rule, share.items, self.now)], self.now)
        assert at is not None
        return at

    def unstrike(self) -> None:
        """Send all that wait for a strike's end back to their lanes."""
        for name in [name for name, lies in self.later.items() if lies.waits_for == STRIKE and name not in self.purges]:
            self._ready(self.later.pop(name).task, fired=True)

    # what only a crash does

    def crash(self, come_back: Callable[[], bool]) -> list[Message]:
        """Restart: counts and deliveries are forgotten, some acknowledged messages come back."""
        self.incarnation += 1
        for message in self.tasks.values():
            message.delivered, message.deadline = 0, None
        back = [message for message in self.removed.values() if come_back()]
        for message in back:
            del self.removed[message.sequence]
            self.tasks[message.sequence] = message
            message.delivered, message.deadline = 0, None
        self.message_ids = {i: sequence for i, sequence in self.message_ids.items() if sequence in self.tasks}
        self.refiring = (self.refiring | self.purges) & self.later.keys()
        self.purges.clear()
        return back

    def boot(self) -> Boot:
        """The stream's end when the first process met this incarnation, and when its suspects may be looked up."""
        settled_at = self.now + SETTLE_S if self.last_sequence else 0.0
        return self.boots.setdefault(self.incarnation, Boot(self.last_sequence, settled_at))
