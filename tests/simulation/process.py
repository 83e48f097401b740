"""A simulated process: what it runs, whether the broker hears it, and what it keeps alive."""

from math import inf

from natsume.core import outcome
from natsume.core.delivery import Boot, Delivery, is_doubtful, is_suspect
from natsume.model.told import Flag

from .intake import Intake
from .laws import Laws
from .locking import Locks
from .runs import Run
from .world import ACK_WAIT_S, World


class Process(Intake):
    """One process: its buffer, its runs, its idea of the boot mark."""

    def __init__(self, number: int, name: str, world: World, laws: Laws, slots: int) -> None:
        super().__init__(world, slots)
        self.number = number
        self.name = name
        self.runs: list[Run] = []
        self.boot = Boot()
        self.incarnation = world.incarnation
        self.stalled_until = 0.0
        self.mute_until = 0.0
        self.extended_at = world.now
        self.laws = laws
        self.heeds_flags = True
        self.known_flags = dict(world.flags)
        self.locks = Locks(world, number)
        world.bucket.parked = laws.armed

    def taken(self) -> int:
        """Slots that are taken."""
        return len(self.runs)

    def hear(self) -> None:
        """Learn of all flags."""
        self.known_flags = dict(self.world.flags)
        for run in self.runs:
            run.flag = run.flag or self._flag_of(run.delivery.task.id)

    def _flag_of(self, task_id: str) -> Flag | None:
        return self.known_flags.get(task_id) if self.heeds_flags else None

    def suspects(self, delivery: Delivery, since: float) -> bool:
        """Whether a delivery may have run: what nobody extended for `ack_wait` went to others meanwhile."""
        aged = self.world.now - max(since, self.extended_at) >= ACK_WAIT_S
        delivery.doubted = delivery.doubted or aged or is_doubtful(delivery, self.boot)
        return is_suspect(delivery)

    @property
    def connected(self) -> bool:
        """Whether it is connected, and knows what the broker had stored when it started."""
        return self.boot.settled_at < inf

    def room(self) -> bool:
        """Whether it would pull."""
        return self.connected and super().room()

    def refresh(self) -> None:
        """Connect again; to another run of the broker, forget what waits and note what runs."""
        self.boot = self.world.boot()
        self.hear()
        if self.incarnation != self.world.incarnation:
            self.incarnation = self.world.incarnation
            self.forget_doubted()
            self.note_all()

    def note_all(self) -> None:
        """Note what has started and is not known to have."""
        for run in self.runs:
            if run.has_started and not run.noted:
                self.note(run)

    @property
    def answers(self) -> bool:
        """Whether it is there to be asked."""
        return self.connected and max(self.stalled_until, self.mute_until) <= self.world.now

    def come_late(self) -> None:
        """Once it is later than the others expect it back from the broker's start, they may run what it runs."""
        boot = self.world.boots.get(self.world.incarnation)
        if self.connected or boot is None:
            return
        late_s = self.world.now - boot.settled_at
        for run in self.runs:
            run.seen.excused |= late_s >= (ACK_WAIT_S / 2 if run.noted else 0)

    def unheard(self) -> None:
        """Be there no more, to all others: what it runs may be run by them."""
        for run in self.runs:
            run.seen.excused = True

    def keep_alive(self) -> None:
        """Extend what is in hand and renew what is held, if that gets through."""
        now = self.world.now
        if self.stalled_until > now:
            return
        heard = self.mute_until <= now
        for run in self.runs:
            for lease in list(run.leases):
                ended = lease.until <= self.locks.monotonic()
                if ended or (heard and not self.locks.finish(self.locks.leases.renew(lease))):
                    run.lost_untold = not run.lost
        if not heard:
            return
        if now - self.extended_at >= ACK_WAIT_S:
            self.doubt()
        self.extended_at = now
        for delivery in self.in_hand.values():
            self.world.extend(int(delivery.token))

    def note(self, run: Run) -> None:
        """Record the start of what runs for long; nobody waits for it."""
        run.noted = True
        task = run.delivery.task
        self.world.start(outcome.start(task, self.name, self.world.now, run.nonce, 0), 0)
