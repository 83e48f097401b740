"""The simulated broker: what the server was measured to do, and what it was measured to forget.

It knows no faults: `faults` asks it for what a crash or a lost answer does. Times are seconds.
"""

from collections.abc import Callable, Sequence

import msgspec

from natsume.core import gcra
from natsume.core.delivery import Boot
from natsume.core.gcra import Asked, Quota
from natsume.model import subject
from natsume.model.limit_rule import Share
from natsume.model.limits import RESERVE_S, SETTLE_S
from natsume.model.lock import Blocked, Want
from natsume.model.record import Flag
from natsume.model.task import Task

from .records import Records

ACK_WAIT_S = 30.0
STRIKE = "strike"
STRIKE_S = 20.0
"""How long a world without an operator lets a task wait for the end of a strike, at most."""
LEASE_S = 30.0


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


class Lock(msgspec.Struct):
    """A key of the bucket of locks."""

    holder: str
    token: int
    revision: int
    until: float
    task: str = ""
    since: float = 0.0


class Options(msgspec.Struct, frozen=True):
    """What a planted bug changes about the adapters' use of the broker."""

    done_is_fenced: bool = True
    later_is_fenced: bool = True
    hop_in_subject: bool = True
    commit_before_removal: bool = True


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
        self.locks: dict[str, Lock] = {}
        self.quota = Quota()
        self.last_sequence = 0
        self._last_revision = 0

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

    def acquire(self, key: str, holder: str, task: str, since: float) -> Lock | None:
        """Take a lock if it is free or this holder's; None if another has it."""
        lock = self.locks.get(key)
        standing = lock is not None and lock.until > self.now
        kept = standing and lock is not None and not lock.holder and (since, task) <= (lock.since, lock.task)
        if standing and lock is not None and lock.holder != holder and not kept:
            return None
        self._last_revision += 1
        token = lock.token if lock is not None and standing and not kept else self._last_revision
        mine = Lock(holder, token, self._last_revision, self.now + LEASE_S, task)
        self.locks[key] = mine
        return mine

    def renew(self, key: str, revision: int) -> int | None:
        """Lengthen a lease in place; its new revision, or None if it is lost."""
        lock = self.locks.get(key)
        if lock is None or lock.until <= self.now or lock.revision != revision:
            return None
        self._last_revision += 1
        lock.revision = self._last_revision
        lock.until = self.now + LEASE_S
        return lock.revision

    def release(self, key: str, holder: str) -> None:
        """Delete the very lease that is held."""
        lock = self.locks.get(key)
        if lock is not None and lock.holder == holder:
            del self.locks[key]
            self.wake(key)

    def blocked(self, keys: Sequence[str], holder: str) -> Blocked:
        """Why a task that was refused must wait: the first lock of its that another has."""
        for key in keys:
            lock = self.locks.get(key)
            if lock is not None and lock.until > self.now and lock.holder != holder:
                first = not any(lies.waits_for == key for lies in self.later.values())
                return Blocked(Want(key, key), lock.task, lock.holder, self.now, lock.until, first)
        return Blocked(Want(keys[0], keys[0]), ends_at=self.now)

    def park(self, task: Task, key: str, until: float) -> bool:
        """Store a task in the line of a lock, if its hop does not stand there; whether it was stored."""
        name = subject.parked(key, "normal", task.id, task.hop)
        if name in self.later:
            return False
        self.later[name] = Schedule(task, until, key)
        return True

    def wake(self, key: str) -> None:
        """Reserve a free lock for the first of its line, and send that back to its lane."""
        lock = self.locks.get(key)
        if lock is not None and lock.until > self.now:
            return
        name = next(
            (name for name, lies in self.later.items() if lies.waits_for == key and name not in self.purges), None
        )
        if name is None:
            return
        self._last_revision += 1
        task = self.later.pop(name).task
        self.locks[key] = Lock(
            "", self._last_revision, self._last_revision, self.now + RESERVE_S, task.id, task.waiting_since or 0.0
        )
        self._ready(task, fired=True)

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
