"""A simulated conductor: drives the real reaction as the real shell does, one effect at a time.

As with a worker, an effect is sent, takes place, and is answered, and anything may happen in between.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgspec

from natsume.core import reaction as do
from natsume.model.record import Done

from .group_worlds import Fed, GroupWorld
from .records import START

EVERYTHING_IS_SUSPECT: Final = 2**63
_ALONE_S: Final = 24.0
_AHEAD: Final = 6
_BATCH_MAX: Final = 4


class Taken(msgspec.Struct):
    """A record in a conductor's hands."""

    sequence: int
    record: Done
    delivered: int
    since: float


class Conductor:
    """One process: what it has taken, its reaction, its idea of the boot mark."""

    def __init__(self, name: str, world: GroupWorld, rng: Random) -> None:
        self.name = name
        self.taken: list[Taken] = []
        self.boot_mark = EVERYTHING_IS_SUSPECT
        self.stalled_until = 0.0
        self.sent: do.Effect | None = None
        self.react: Callable[..., do.Reaction] = do.react
        self.world = world
        self._rng = rng
        self.batch: list[Taken] = []
        self._reaction: do.Reaction | None = None
        self._answer: Any = None
        self.arrives: dict[type, Callable[[Any], Any]] = {
            do.OpenJoins: self._open_joins,
            do.ReadChunk: lambda effect: world.chunks.get(effect.id, {}).get((effect.nonce, effect.number)),
            do.MissChunk: lambda effect: None,
            do.Submit: self._submit,
            do.Arm: lambda effect: world.arm(effect.task, effect.at),
            do.ReadJoins: lambda effect: {one: world.joins[one] for one in effect.ids if one in world.joins},
            do.UpdateJoin: lambda effect: world.update_join(effect.join, effect.revision),
            do.MissJoin: lambda effect: None,
            do.PurgeChunks: lambda effect: world.chunks.pop(effect.id, None),
            do.Acknowledge: lambda effect: world.acknowledge_record(self.batch[effect.place].sequence),
        }

    @property
    def idle(self) -> bool:
        """Whether it has nothing in hand."""
        return self._reaction is None and not self.taken

    def take(self, fed: Fed) -> bool:
        """Take a record, if it has room for one."""
        if len(self.taken) >= _AHEAD:
            return False
        self.world.hand_out(fed)
        self.taken.append(Taken(fed.sequence, fed.record, fed.delivered, self.world.now))
        return True

    def advance(self) -> None:
        """Begin a batch, or let the effect on its way arrive, or tell its answer."""
        if self._reaction is None:
            if self.taken:
                count = self._rng.randint(1, _BATCH_MAX)
                self.batch, self.taken = self.taken[:count], self.taken[count:]
                self._begin(again=False)
        elif self.sent is not None:
            effect, self.sent = self.sent, None
            self._answer = self.arrives[type(effect)](effect)
            self._say(f"{type(effect).__name__}: {brief(effect, self._answer)}")
        else:
            self._go_on()

    def cannot_tell(self) -> None:
        """The effect on its way took place, or not, or in part; its answer is lost."""
        effect, self.sent = self.sent, None
        if effect is None:
            return
        if isinstance(effect, do.Acknowledge):
            return  # nobody waits for an answer to it: it is lost unseen
        self._say(f"{type(effect).__name__} has no answer")
        self.happen_unseen(effect)
        self._begin(again=True)

    def happen_unseen(self, effect: do.Effect) -> None:
        """Let an effect take place, or not, or in part."""
        match effect:
            case do.Submit(tasks, resent):
                self._submit(do.Submit(tuple(task for task in tasks if self._rng.random() < 0.5), resent))
            case do.OpenJoins(joins):
                self._open_joins(do.OpenJoins(tuple(join for join in joins if self._rng.random() < 0.5)))
            case _ if self._rng.random() < 0.5:
                self.arrives[type(effect)](effect)

    def lose_connection(self) -> None:
        """Forget the boot mark, get no answer to what is on its way."""
        self.boot_mark = EVERYTHING_IS_SUSPECT
        self.cannot_tell()

    def refresh(self) -> None:
        """Learn the boot mark of the broker's present incarnation."""
        self.boot_mark = self.world.records_mark()

    def is_suspect(self, place: int) -> bool:
        """Whether another may have reacted to a record of the batch."""
        taken = self.batch[place]
        return not self._is_alone(taken) or taken.sequence <= self.boot_mark

    def keep_alive(self) -> None:
        """Extend what is in hand; of what was not extended in time it is not known who has it."""
        if self.stalled_until > self.world.now:
            return
        for taken in self.taken + self.batch:
            self.world.extend_record(taken.sequence)
            if self._is_alone(taken):
                taken.since = self.world.now

    def _is_alone(self, taken: Taken) -> bool:
        return taken.delivered == 1 and self.world.now - taken.since < _ALONE_S

    def _begin(self, *, again: bool) -> None:
        self._reaction = self.react([taken.record for taken in self.batch], self.is_suspect, again=again)
        self._answer = None
        self._go_on()

    def _go_on(self) -> None:
        assert self._reaction is not None
        try:
            self.sent = self._reaction.send(self._answer)
        except StopIteration:
            self._reaction, self.batch = None, []
            return
        if isinstance(self.sent, do.MissChunk) and not self.sent.again:
            self.sent = None
            self._begin(again=True)

    def _open_joins(self, effect: do.OpenJoins) -> None:
        for join in effect.joins:
            self.world.update_join(join, 0)

    def _submit(self, effect: do.Submit) -> None:
        for task in effect.tasks:
            self.world.submit(task, resent=effect.resent)

    def _say(self, what: str) -> None:
        if self.world.say is not None:
            self.world.say(f"{self.world.now - START:7.1f} {self.name}: {what}")


def brief(effect: do.Effect, answer: Any) -> str:
    """An effect and its answer as the trace tells them."""
    match effect:
        case do.Submit(tasks, resent):
            return f"{[task.id[:6] for task in tasks]}{', resent' if resent else ''}"
        case do.OpenJoins(joins):
            return f"{[join.id[:6] for join in joins]}"
        case do.UpdateJoin(join, _):
            counts = f"{join.arrived_count} and {join.failed_count} of {join.total}, {join.state}"
            return f"{join.id[:6]} {counts}{'' if answer else ', refused'}"
        case do.ReadChunk(number=number):
            return f"{number} {'found' if answer else 'missing'}"
        case do.Acknowledge(place):
            return str(place)
        case _:
            return ""
