"""What a worker has in hand: pulled by priority, started when a slot is free, each id once at a time."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from natsume.core import pick
from natsume.core.delivery import Delivery
from natsume.exceptions import Disconnected
from natsume.model import limits
from natsume.model.subject import Lane
from natsume.ports import Deliveries

_RATE_EVERY_S: Final = 0.1
_GRAIN_S: Final = 0.0005


class Intake:
    """Buffers deliveries by lane and hands them to `start` in strict priority."""

    def __init__(
        self,
        lanes: tuple[Lane, ...],
        concurrency: int,
        start: Callable[[Delivery], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`lanes` stand from most to least urgent; `now` is the clock of the deliveries' grants."""
        self.in_hand: dict[str, Delivery] = {}
        self.running = 0
        self._lanes = lanes
        self.concurrency = concurrency
        self._start = start
        self._buffers: tuple[deque[tuple[Delivery, float]], ...] = tuple(deque() for _ in lanes)
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
        self._isolating: deque[tuple[Delivery, asyncio.Future[None]]] = deque()
        self._isolated: Delivery | None = None

    def begin(self, deliveries: Deliveries) -> None:
        """Start to pull."""
        self._deliveries = deliveries
        self._tick()

    @property
    def buffered(self) -> int:
        """Deliveries in hand that have not started."""
        return sum(map(len, self._buffers))

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
        if not self._asking:
            self._asking = True
            self._loop.call_soon(self._ask)

    def _ask(self) -> None:
        self._asking = False
        deliveries = self._deliveries
        if deliveries is None or not self._open or self._isolating or self._isolated:
            return
        if len(self._aside) >= limits.HELD_MAX:
            return
        allowance = self.concurrency - self.running + pick.ahead(self.concurrency, self._ended_per_s)
        outstanding = [deliveries.outstanding(lane) for lane in self._lanes]
        wanted = pick.pulls(allowance - self.buffered, outstanding, self._flowing)
        for number, count in enumerate(wanted):
            if count:
                self._flowing[number] = False
                deliveries.pull(self._lanes[number], count)

    def ended(self, delivery: Delivery) -> None:
        """A slot is free; what waited for this id is next, as a suspect."""
        self.running -= 1
        self._ended += 1
        if self._isolated is delivery:
            self._isolated = None
        if delivery.grants is None:
            self._let_go(delivery)
        elif self._open:
            self._buffer(delivery)
        else:
            self._give_back(delivery)
        self._grant()
        self.room()

    async def isolate(self, delivery: Delivery) -> None:
        """Wait until nothing else runs, and keep it so until this delivery has ended."""
        turn = self._loop.create_future()
        self._isolating.append((delivery, turn))
        self._grant()
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
        for _, timer in self._aside.values():
            timer.cancel()
        self._aside.clear()
        self._followers.clear()
        for _, turn in self._isolating:
            turn.cancel()
        self._isolating.clear()
        return waiting

    def _not_started(self) -> list[Delivery]:
        waiting = [delivery for buffer in self._buffers for delivery, _ in buffer]
        return waiting + [delivery for delivery, _ in self._aside.values()]

    def _following(self) -> list[Delivery]:
        return [follower for group in self._followers.values() for follower in group]

    def _buffer(self, delivery: Delivery) -> None:
        number = self._index[delivery.task.lane]
        self.in_hand[delivery.task.id] = delivery
        self._flowing[number] = True
        if delivery.grants is None or not self._wait(delivery):
            self._buffers[number].append((delivery, self._loop.time()))
        self.room()

    def _wait(self, delivery: Delivery) -> bool:
        """Set a delivery aside until its places come, if that is soon; it then stands before all others of its lane."""
        left_s = max((delivery.grants or {}).values(), default=0.0) - self._now()
        waits = 0 < left_s <= limits.HOLD_S and len(self._aside) < limits.HELD_MAX
        if waits:
            # A timer may be early by the grain of the loop's clock: then it waits for the rest.
            timer = self._loop.call_later(left_s + _GRAIN_S, self._return, delivery)
            self._aside[delivery.task.id] = (delivery, timer)
        return waits

    def _return(self, delivery: Delivery) -> None:
        del self._aside[delivery.task.id]
        if not self._wait(delivery):
            self._buffers[self._index[delivery.task.lane]].appendleft((delivery, self._loop.time()))
            self.room()

    def _fill(self) -> None:
        for buffer in self._buffers:
            while buffer:
                if self.running >= self.concurrency or self._isolating or self._isolated:
                    return
                self.running += 1
                self._start(buffer.popleft()[0])

    def _grant(self) -> None:
        if self._isolating and self._isolated is None and self.running == len(self._isolating):
            self._isolated, turn = self._isolating.popleft()
            turn.set_result(None)

    def _let_go(self, delivery: Delivery) -> None:
        del self.in_hand[delivery.task.id]
        followers = self._followers.pop(delivery.task.id, None)
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
        if self.running >= self.concurrency or self._isolated:
            self._give_back_old()
        self.room()

    def _give_back_old(self) -> None:
        since = self._loop.time() - limits.BUFFER_PATIENCE_S
        for buffer in self._buffers:
            while buffer and buffer[0][1] < since:
                self._give_back(buffer.popleft()[0])

    def _give_back(self, delivery: Delivery) -> None:
        assert self._deliveries is not None
        with suppress(Disconnected):  # then the broker brings it back by itself
            self._deliveries.give_back(delivery)
        self._let_go(delivery)
