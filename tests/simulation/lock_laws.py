"""What must hold of locks, of what is written under their tokens, and of the one rate limiter."""

from collections import defaultdict
from collections.abc import Iterable

from natsume.model.lock import Mode
from natsume.ports import Lease

from .breach import LawBroken
from .records import Records
from .scenario import SHARE


def is_alone(lease: Lease) -> bool:
    """Whether its lock lets nobody in beside it."""
    return lease.want.mode is Mode.EXCLUSIVE or (lease.want.mode is Mode.PERMIT and lease.want.permits == 1)


class LockLaws:
    """Watches the locks and limits of one world."""

    def __init__(self, world: Records) -> None:
        self._world = world
        self._tokens: defaultdict[str, set[int]] = defaultdict(set)
        self._turns: dict[tuple[str, str], int] = {}
        self._last_turns: defaultdict[str, int] = defaultdict(int)
        self._starts: list[float] = []
        self._places: set[float] = set()

    def acquired(self, lease: Lease, *, valid: bool) -> None:
        """A lock was taken; no token comes twice, and those of holders that are alone only grow."""
        used = self._tokens[lease.want.key]
        if lease.token in used:
            raise LawBroken("no token comes twice", f"{lease.key}: {lease.token}")
        if valid and is_alone(lease) and lease.token < max(used, default=0):
            raise LawBroken("tokens only grow", f"{lease.key}: {lease.token} after {max(used)}")
        used.add(lease.token)
        if valid:
            self._turns[lease.key, lease.holding.holder] = len(used)

    def held(self, leases: Iterable[Lease]) -> None:
        """These are held now, each by one who has reason to believe it."""
        by_lock: defaultdict[str, list[Lease]] = defaultdict(list)
        for lease in leases:
            by_lock[lease.want.key].append(lease)
        for key, together in by_lock.items():
            wants = [lease.want for lease in together]
            if len(wants) > 1 and any(want.mode is Mode.EXCLUSIVE for want in wants):
                raise LawBroken("a writer is alone", f"{key}: {[lease.holding.holder for lease in together]}")
            if wants[0].mode is Mode.PERMIT and len(wants) > wants[0].permits:
                raise LawBroken("no more than the permits", f"{key}: {[lease.holding.holder for lease in together]}")

    def wrote(self, lease: Lease, *, accepted: bool, valid: bool) -> None:
        """Something was written under a token: never after a later holder's, and whoever holds the lock can."""
        turn = self._turns.get((lease.key, lease.holding.holder))
        if valid and not accepted:
            raise LawBroken("who holds a lock can write", f"{lease.key}: {lease.holding.holder}")
        if accepted and turn is not None:
            if turn < self._last_turns[lease.key]:
                raise LawBroken("a zombie writes nothing after others", f"{lease.key}: {lease.holding.holder}")
            self._last_turns[lease.key] = turn

    def takes_place(self, nonce: str, task_id: str, place: float) -> None:
        """One of the limiter's tasks starts."""
        if place in self._places:
            raise LawBroken("a place is used once", f"{nonce} of {task_id} has that of {place}")
        self._places.add(place)
        now, rule = self._world.now, SHARE.rule
        self._starts = [at for at in self._starts if now - at <= rule.window_s] + [now]
        if len(self._starts) > rule.limit + rule.burst:
            raise LawBroken("no window has more starts than allowed", f"{task_id} is one of {self._starts}")
