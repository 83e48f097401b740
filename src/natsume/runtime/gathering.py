"""Tasks that are to run together, while they gather: in hand, in no slot, for as long as their actor says."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from itertools import chain
from typing import Final

from natsume.actors.registry import Actor
from natsume.core.delivery import Delivery
from natsume.exceptions import NatsumeError
from natsume.model.limits import GATHER_AHEAD
from natsume.model.task import Fault, Reason

_PROOF_S: Final = 0.1


class Gathering:
    """Some tasks of one actor and key; `ripe_at` is since when it may start, None while it waits for more."""

    __slots__ = ("deliveries", "key", "lane", "most", "ripe_at", "timer")

    def __init__(self, key: Hashable, lane: int, most: int) -> None:
        self.key = key
        self.lane = lane
        self.most = most
        self.deliveries: list[Delivery] = []
        self.timer: asyncio.TimerHandle | None = None
        self.ripe_at: float | None = None


class Gatherings:
    """What gathers in a worker, by lane; what is ripe takes more until a slot is free or it is full."""

    def __init__(self, actors: Iterable[Actor], lanes: int, slots: int, ripened: Callable[[], None]) -> None:
        """`ripened` is told when time has made one ripe."""
        self._actors: Mapping[str, Actor] = {actor.name: actor for actor in actors if actor.batching is not None}
        self._slots = slots
        self._ripened = ripened
        self._loop = asyncio.get_running_loop()
        self._proved = [(0, 0.0)] * lanes
        self._open: dict[Hashable, Gathering] = {}
        self.ripe: tuple[deque[Gathering], ...] = tuple(deque() for _ in range(lanes))

    def takes(self, delivery: Delivery) -> bool:
        """Whether this one gathers with others."""
        return delivery.task.actor in self._actors

    def add(self, delivery: Delivery, lane: int) -> bool:
        """Let it gather; whether something is ripe now.

        What has waited elsewhere, for a lock or a place that is kept for it, waits no longer here.
        """
        actor = self._actors[delivery.task.actor]
        batching = actor.batching
        assert batching is not None
        key = (actor.name, lane, _key_of(actor, delivery))
        gathering = self._open.get(key)
        if gathering is None:
            gathering = self._open[key] = Gathering(key, lane, batching.most)
            if len(self._open) > max(2, self._slots):
                self._ripen(next(iter(self._open.values())))
        gathering.deliveries.append(delivery)
        if len(gathering.deliveries) >= gathering.most:
            self._proved[lane] = (gathering.most, self._loop.time() + _PROOF_S)
            self._close(gathering)
        elif delivery.task.waits or delivery.task.grants:
            self._ripen(gathering)
        elif gathering.timer is None:
            gathering.timer = self._loop.call_later(batching.wait_s, self._in_time, gathering)
        return any(self.ripe)

    def pop(self, lane: int) -> list[Delivery]:
        """The members of the batch that starts now."""
        gathering = self.ripe[lane].popleft()
        self._close(gathering, queue=False)
        return gathering.deliveries

    def ahead(self, lane: int) -> int:
        """How many more to ask of a lane than there are slots for: no more at once than it has proved to bring.

        That is what has gathered of those that are not full; and after one that was full, as many for a moment.
        """
        gathered = lacking = 0
        for gathering in self._open.values():
            if gathering.lane == lane:
                gathered += len(gathering.deliveries)
                lacking += gathering.most - len(gathering.deliveries)
        most, until = self._proved[lane]
        proved = most if self._loop.time() < until else 0
        return min(max(proved, min(gathered, lacking)), GATHER_AHEAD)

    @property
    def ripe_count(self) -> int:
        """How many wait for a slot."""
        return sum(map(len, self.ripe))

    def deliveries(self) -> list[Delivery]:
        """All that gathers or is ripe."""
        return [delivery for gathering in self._all() for delivery in gathering.deliveries]

    def drop(self, task_ids: set[str]) -> None:
        """Forget these tasks."""
        for gathering in self._all():
            gathering.deliveries[:] = [one for one in gathering.deliveries if one.task.id not in task_ids]
        for gathering in [one for one in self._all() if not one.deliveries]:
            self._close(gathering, queue=False)
            if gathering in self.ripe[gathering.lane]:
                self.ripe[gathering.lane].remove(gathering)

    def stale(self, since: float) -> list[Delivery]:
        """Take out what is ripe since before then."""
        out = []
        for lane, queue in enumerate(self.ripe):
            while queue and queue[0].ripe_at is not None and queue[0].ripe_at < since:
                out += self.pop(lane)
        return out

    def clear(self) -> None:
        """Forget all."""
        for gathering in list(self._open.values()):
            self._close(gathering, queue=False)
        for queue in self.ripe:
            queue.clear()

    def _all(self) -> list[Gathering]:
        full = [one for one in chain.from_iterable(self.ripe) if self._open.get(one.key) is not one]
        return [*full, *self._open.values()]

    def _in_time(self, gathering: Gathering) -> None:
        self._ripen(gathering)
        self._ripened()

    def _ripen(self, gathering: Gathering) -> None:
        if gathering.ripe_at is None:
            gathering.ripe_at = self._loop.time()
            if len(gathering.deliveries) < gathering.most:
                self._proved[gathering.lane] = (0, 0.0)
            self.ripe[gathering.lane].append(gathering)

    def _close(self, gathering: Gathering, *, queue: bool = True) -> None:
        """Let nothing more gather here."""
        if queue:
            self._ripen(gathering)
        if self._open.get(gathering.key) is gathering:
            del self._open[gathering.key]
        if gathering.timer is not None:
            gathering.timer.cancel()


def _key_of(actor: Actor, delivery: Delivery) -> Hashable:
    """What a task has in common with its batch; one that cannot be asked is alone, for its end to say why."""
    assert actor.batching is not None
    if actor.batching.key is None:
        return None
    try:
        return actor.batching.key(actor.arguments.decode(delivery.task.body))
    except NatsumeError:
        return delivery.task.id  # its arguments are read again when it is opened
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the actor's own code, made of nothing but the arguments
        sentence = f"its batch_key failed: {type(error).__name__}: {error}"
        delivery.fault = delivery.fault or Fault(Reason.INVALID_ARGUMENTS, sentence)
        return delivery.task.id
