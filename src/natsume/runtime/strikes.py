"""The strikes that stand, as a worker knows them."""

import msgspec

from natsume.actors.registry import Actor
from natsume.base_task import BaseTask
from natsume.core.striking import struck
from natsume.model.config import Unreadable
from natsume.model.lock import Blocked
from natsume.model.strike import Strike, Strikes


class Standing:
    """Tells what a task must wait for; costs nothing where no strike stands."""

    def __init__(self) -> None:
        self._by_actor: dict[str, list[Strike]] = {}

    def take(self, strikes: Strikes | Unreadable | None) -> None:
        """Let these strikes stand from the next start of a task on."""
        by_actor: dict[str, list[Strike]] = {}
        for strike in strikes.strikes if isinstance(strikes, Strikes) else ():
            by_actor.setdefault(strike.actor, []).append(strike)
        self._by_actor = by_actor

    def __call__(self, actor: Actor, task: BaseTask) -> Blocked | None:
        """The strike that stops a task."""
        own = self._by_actor.get(actor.name) if self._by_actor else None
        found = struck(own, lambda: msgspec.json.decode(actor.arguments.encode(task))) if own else None
        return Blocked(found.want, since=found.at, first=False) if found is not None else None


def none_stands(_actor: Actor, _task: BaseTask) -> Blocked | None:
    """What a worker without an operator waits for: nothing."""
    return None
