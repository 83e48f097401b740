"""What a worker has in hand: pulled by priority, started when a slot is free, each id once at a time."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from natsume.actors.registry import Actor
from natsume.core import pick
from natsume.core.delivery import Delivery
from natsume.exceptions import Disconnected
from natsume.model import limits, times
from natsume.model.subject import Lane
from natsume.ports import Deliveries
from natsume.runtime.gathering import Gatherings
from natsume.runtime.solitude import Solitude

_RATE_EVERY_S: Final = 0.1
_GRAIN_S: Final = 0.0005


def _refuse(deliveries: list[Delivery]) -> None:
    raise AssertionError(f"nothing starts batches here, and {len(deliveries)} tasks are one")


class Intake:
    """Buffers deliveries by lane and hands them to `start` in strict priority."""

    def __init__(
        self,
        lanes: tuple[Lane, ...],
        concurrency: int,
        start: Callable[[Delivery], None],
        now: Callable[[], float] = time.time,
        batching: Iterable[Actor] = (),
        start_batch: Callable[[list[Delivery]], None] = _refuse,
    ) -> None:
        """`lanes` stand from most to least urgent; `now` is the clock of the deliveries' grants.

        Tasks of actors that are `batching` are started together, as a batch in one slot.
        """
        self.in_hand: dict[str, Delivery] = {}
        self.running = 0
        self._lanes = lanes
        self.concurrency = concurrency
        self._start = start
        self._start_batch = start_batch
        self._gatherings = Gatherings(batching, len(lanes), concurrency, self.room)
        self._buffers: tuple[deque[tuple[Delivery, float]], ...] = tuple(deque() for _ in lanes)
        self._waiting = tuple(zip(self._buffers, self._gatherings.ripe, strict=True))
        self._index = {lane: number for number, lane in enumerate(lanes)}
        self._now = now
        self._aside: dict[str, tuple[Delivery, asyncio.TimerHandle]] = {}
        self._followers: dict[str, list[Delivery]] = {}
        self._asking = False
        self._flowing = [False] * len(lanes)
        self._deliveries: Deliveries | None = None
        self._open = True
        self._loop = asyncio.get_running_loop()
        self._ended = 0
        self._ended_per_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._solitude = Solitude()

    def begin(self, deliveries: Deliveries) -> None:
        """Start to pull."""
        self._deliveries = deliveries
        self._tick()

    @property
    def buffered(self) -> int:
        """What is in hand and waits for a slot: deliveries, and batches that gather no longer."""
        return sum(map(len, self._buffers)) + self._gatherings.ripe_count

    @property
    def set_aside(self) -> int:
        """Deliveries in hand whose places under rate limiters have not come."""
        return len(self._aside)

    def arrived(self, delivery: Delivery) -> None:
        """Take a delivery in. One that is in hand already gets the new token, or waits for the first."""
        held = self.in_hand.get(delivery.task.id)
        if held is None:
            self._buffer(delivery)
        elif held.sequence == delivery.sequence:
            held.token = delivery.token
        else:
            self._followers.setdefault(delivery.task.id, []).append(delivery)

    def room(self) -> None:
        """Start what can start, and ask for more: once for all that happens in this turn of the loop."""
        if not self._open:
            return
        self._fill()
        self._ask_soon()

    def _ask_soon(self) -> None:
        if not self._asking:
            self._asking = True
            self._loop.call_soon(self._ask)

    def _ask(self) -> None:
        self._asking = False
        deliveries = self._deliveries
        if deliveries is None or not self._open or self._solitude.reigns:
            return
        if len(self._aside) >= limits.HELD_MAX:
            return
        allowance = self.concurrency - self.running + pick.ahead(self.concurrency, self._ended_per_s)
        outstanding = [deliveries.outstanding(lane) for lane in self._lanes]
        room = allowance - self.buffered
        gathered_most = limits.GATHERED_MAX + 2 * self.concurrency - len(self.in_hand)
        room = min(room, gathered_most)
        together = [min(self._gatherings.ahead(lane), gathered_most - room) for lane in range(len(self._lanes))]
        wanted = pick.pulls(room, together, outstanding, self._flowing)
        for number, count in enumerate(wanted):
            if count:
                self._flowing[number] = False
                deliveries.pull(self._lanes[number], count)

    def ended(self, delivery: Delivery) -> None:
        """A delivery has left its slot."""
        self.let_go(delivery)
        self.freed(delivery)

    def let_go(self, delivery: Delivery) -> None:
        """A delivery is dealt with, or set aside; what waited for its id is next, as a suspect."""
        if delivery.grants is None:
            self._let_go(delivery)
        elif self._open:
            self._buffer(delivery)
        else:
            self._give_back(delivery)

    def freed(self, occupant: object) -> None:
        """A slot is free that a delivery or a batch had."""
        self.running -= 1
        self._ended += 1
        if self._solitude.reigns:
            self._solitude.ended(occupant)
            self._solitude.grant(self.running)
        self.room()

    async def isolate(self, occupant: object) -> None:
        """Wait until nothing else runs, and keep it so until this one has left its slot."""
        turn = self._solitude.ask(occupant)
        self._solitude.grant(self.running)
        await turn

    def doubt(self) -> None:
        """Make suspects of all that waits: the broker may have brought it to others meanwhile."""
        for delivery in [*self._not_started(), *self._following()]:
            delivery.doubted = True

    def forget_doubted(self) -> None:
        """Drop what waits since before the broker started anew: only what it brings now counts.

        It is not given back: to a new run of the broker, the old token may be that of another's copy.
        """
        stale = {delivery.task.id for delivery in self._not_started() if delivery.doubted}
        for buffer in self._buffers:
            kept = [held for held in buffer if held[0].task.id not in stale]
            buffer.clear()
            buffer.extend(kept)
        self._gatherings.drop(stale)
        for task_id in stale:
            del self.in_hand[task_id]
            if task_id in self._aside:
                self._aside.pop(task_id)[1].cancel()
        followers, self._followers = self._following(), {}
        for follower in followers:
            if not follower.doubted:
                self.arrived(follower)
        self.room()

    def close(self) -> list[Delivery]:
        """Start nothing more; what had not started."""
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
        waiting = self._not_started()
        for delivery in waiting:
            del self.in_hand[delivery.task.id]
        waiting += self._following()
        for buffer in self._buffers:
            buffer.clear()
        self._gatherings.clear()
        for _, timer in self._aside.values():
            timer.cancel()
        self._aside.clear()
        self._followers.clear()
        self._solitude.close()
        return waiting

    def _not_started(self) -> list[Delivery]:
        waiting = [delivery for buffer in self._buffers for delivery, _ in buffer]
        return waiting + self._gatherings.deliveries() + [delivery for delivery, _ in self._aside.values()]

    def _following(self) -> list[Delivery]:
        return [follower for group in self._followers.values() for follower in group]

    def _buffer(self, delivery: Delivery) -> None:
        number = self._index[delivery.task.lane]
        self.in_hand[delivery.task.id] = delivery
        self._flowing[number] = True
        if delivery.grants is None or not self._wait(delivery):
            if self._gatherings.takes(delivery):
                if not self._gatherings.add(delivery, number):
                    self._ask_soon()
                    return
            else:
                self._buffers[number].append((delivery, self._loop.time()))
        self.room()

    def _wait(self, delivery: Delivery) -> bool:
        """Set a delivery aside until its places come, if that is soon; it then stands before all others of its lane."""
        left_s = max((delivery.grants or {}).values(), default=0.0) - self._now()
        waits = 0 < left_s <= times.HOLD_S and len(self._aside) < limits.HELD_MAX
        if waits:
            # A timer may be early by the grain of the loop's clock: then it waits for the rest.
            timer = self._loop.call_later(left_s + _GRAIN_S, self._return, delivery)
            self._aside[delivery.task.id] = (delivery, timer)
        return waits

    def _return(self, delivery: Delivery) -> None:
        del self._aside[delivery.task.id]
        if self._wait(delivery):
            return
        number = self._index[delivery.task.lane]
        if self._gatherings.takes(delivery):
            self._gatherings.add(delivery, number)
        else:
            self._buffers[number].appendleft((delivery, self._loop.time()))
        self.room()

    def _fill(self) -> None:
        for number, (buffer, ripe) in enumerate(self._waiting):
            while buffer or ripe:
                if self.running >= self.concurrency or self._solitude.reigns:
                    return
                self.running += 1
                if ripe:
                    self._start_batch(self._gatherings.pop(number))
                    self._loop.call_soon(self.room)  # many at once would keep all others waiting
                    return
                self._start(buffer.popleft()[0])

    def _let_go(self, delivery: Delivery) -> None:
        del self.in_hand[delivery.task.id]
        followers = self._followers.pop(delivery.task.id, None) if self._followers else None
        if not followers:
            return
        first, *rest = followers
        first.doubted = True
        if rest:
            self._followers[delivery.task.id] = rest
        if self._open:
            self._buffer(first)

    def _tick(self) -> None:
        """Follow the rate of endings; give back what waits for long while every slot is taken."""
        self._timer = self._loop.call_later(_RATE_EVERY_S, self._tick)
        self._ended_per_s += (self._ended / _RATE_EVERY_S - self._ended_per_s) / 2
        self._ended = 0
        if self.running >= self.concurrency or self._solitude.reached:
            self._give_back_old()
        self.room()

    def _give_back_old(self) -> None:
        since = self._loop.time() - times.BUFFER_PATIENCE_S
        for buffer in self._buffers:
            while buffer and buffer[0][1] < since:
                self._give_back(buffer.popleft()[0])
        for delivery in self._gatherings.stale(since):
            self._give_back(delivery)

    def _give_back(self, delivery: Delivery) -> None:
        assert self._deliveries is not None
        with suppress(Disconnected):  # then the broker brings it back by itself
            self._deliveries.give_back(delivery)
        self._let_go(delivery)
