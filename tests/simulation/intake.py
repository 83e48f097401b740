"""What a simulated worker has in hand: each id once at a time, as in the real intake."""

from natsume.core.delivery import Delivery
from natsume.model.times import HOLD_S

from .world import Message, World


class Intake:
    """A buffer of deliveries, and those that wait for one of the same id."""

    def __init__(self, world: World, slots: int) -> None:
        self.world = world
        self.buffer: list[tuple[Delivery, float]] = []
        self.aside: list[Delivery] = []
        self.in_hand: dict[str, Delivery] = {}
        self.followers: dict[str, list[Delivery]] = {}
        self.draining = False
        self._slots = slots

    def taken(self) -> int:
        """Slots that are taken."""
        raise NotImplementedError

    def room(self) -> bool:
        """Whether it would pull."""
        return not self.draining and self.taken() + len(self.buffer) < self._slots + 2

    def arrived(self, message: Message) -> None:
        """Take a delivery in; the same message renews its token, another of the same id waits."""
        self.world.deliver(message)
        task = message.task
        delivery = Delivery(
            task,
            b"%d" % message.sequence,
            message.sequence,
            message.delivered,
            message.resent,
            message.fired,
            subject="task",
            grants=self.places(message),
            stored_at=message.stored_at,
        )
        held = self.in_hand.get(task.id)
        if held is None:
            self._put(delivery)
        elif held.sequence == delivery.sequence:
            held.token = delivery.token
        else:
            self.followers.setdefault(task.id, []).append(delivery)

    def drain(self) -> None:
        """Start nothing more and give back what has not started."""
        self.draining = True
        waiting = [delivery for delivery, _ in self.buffer] + self.aside
        for delivery in waiting:
            del self.in_hand[delivery.task.id]
        waiting.extend(follower for group in self.followers.values() for follower in group)
        self.buffer.clear()
        self.aside.clear()
        self.followers.clear()
        for delivery in waiting:
            self.world.give_back(int(delivery.token))

    def doubt(self) -> None:
        """Make suspects of all that waits: the broker may have brought it to others."""
        following = [follower for followers in self.followers.values() for follower in followers]
        for delivery in [*(delivery for delivery, _ in self.buffer), *self.aside, *following]:
            delivery.doubted = True

    def forget_doubted(self) -> None:
        """Drop what waits since before the broker started anew."""
        for delivery in [*(delivery for delivery, _ in self.buffer), *self.aside]:
            if delivery.doubted:
                del self.in_hand[delivery.task.id]
        self.buffer = [held for held in self.buffer if not held[0].doubted]
        self.aside = [delivery for delivery in self.aside if not delivery.doubted]
        for task_id, followers in self.followers.items():
            self.followers[task_id] = [follower for follower in followers if not follower.doubted]

    def places(self, message: Message) -> dict[str, float] | None:
        """The places that a delivery comes with: what was delivered before may have used them."""
        return message.task.grants if message.delivered == 1 else None

    def come(self) -> None:
        """Put what was set aside before all others, once its places have come."""
        for delivery in [one for one in self.aside if until(one) <= self.world.now]:
            self.aside.remove(delivery)
            self.buffer.insert(0, (delivery, self.world.now))

    def _put(self, delivery: Delivery) -> None:
        self.in_hand[delivery.task.id] = delivery
        if 0 < until(delivery) - self.world.now <= HOLD_S:
            self.aside.append(delivery)
        else:
            self.buffer.append((delivery, self.world.now))

    def let_go(self, delivery: Delivery) -> None:
        """What waited for this id is next, as a suspect; what was set aside stays."""
        if delivery.grants is not None and not self.draining:
            self._put(delivery)
            return
        del self.in_hand[delivery.task.id]
        followers = self.followers.pop(delivery.task.id, None)
        if followers:
            first = followers.pop(0)
            first.doubted = True
            self._put(first)
            if followers:
                self.followers[first.task.id] = followers


def until(delivery: Delivery) -> float:
    """When the last of a delivery's places comes."""
    return max((delivery.grants or {}).values(), default=0.0)
