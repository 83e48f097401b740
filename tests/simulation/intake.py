"""What a simulated worker has in hand: each id once at a time, as in the real intake."""

from natsume.core.delivery import Delivery

from .world import Message, World


class Intake:
    """A buffer of deliveries, and those that wait for one of the same id."""

    def __init__(self, world: World, slots: int) -> None:
        self.world = world
        self.buffer: list[tuple[Delivery, float]] = []
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
        )
        held = self.in_hand.get(task.id)
        if held is None:
            self.in_hand[task.id] = delivery
            self.buffer.append((delivery, self.world.now))
        elif held.sequence == delivery.sequence:
            held.token = delivery.token
        else:
            self.followers.setdefault(task.id, []).append(delivery)

    def drain(self) -> None:
        """Start nothing more and give back what has not started."""
        self.draining = True
        waiting = [delivery for delivery, _ in self.buffer]
        for delivery in waiting:
            del self.in_hand[delivery.task.id]
        waiting.extend(follower for group in self.followers.values() for follower in group)
        self.buffer.clear()
        self.followers.clear()
        for delivery in waiting:
            self.world.give_back(int(delivery.token))

    def doubt(self) -> None:
        """Make suspects of all that has not started: the broker may have brought it to others."""
        for delivery, _ in self.buffer:
            delivery.resent = True

    def let_go(self, delivery: Delivery) -> None:
        """What waited for this id is next, as a suspect."""
        del self.in_hand[delivery.task.id]
        followers = self.followers.pop(delivery.task.id, None)
        if followers:
            first = followers.pop(0)
            first.resent = True
            self.in_hand[first.task.id] = first
            self.buffer.append((first, self.world.now))
            if followers:
                self.followers[first.task.id] = followers
