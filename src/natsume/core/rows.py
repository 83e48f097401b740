"""What rows of the table are made of: their shape, how they are entered, the steps that many of them take."""

from collections.abc import Callable
from typing import Any, Final

from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import phases as at
from natsume.core import waiting
from natsume.core.delivery import Delivery, Rules
from natsume.model.lock import Blocked
from natsume.model.record import Done
from natsume.model.task import Task

Step = tuple[at.Phase, tuple[do.Effect, ...]]
Rule = Callable[[Any, Delivery, Rules, Any], Step]
Table = dict[tuple[type[at.Phase], type[ev.Event]], Rule]

CLOSE: Final[Step] = (at.Closed(), (do.ReleaseLocks(), do.Acknowledge()))
EXECUTE: Final = (do.Execute(),)
LOOK_UP: Final = (do.LookUp(),)
RESERVE: Final = (do.Reserve(),)


def entering(table: Table) -> Callable[[type[at.Phase], type[ev.Event]], Callable[[Rule], Rule]]:
    """A decorator that enters rules into a table, each pair of phase and event once."""

    def row(phase: type[at.Phase], event: type[ev.Event]) -> Callable[[Rule], Rule]:
        def enter(rule: Rule) -> Rule:
            assert (phase, event) not in table
            table[phase, event] = rule
            return rule

        return enter

    return row


def commit(record: Done) -> Step:
    """Write a done record of what did not run."""
    return at.Committing(record), (do.Commit(record),)


def arm(task: Task, due: float) -> Step:
    """Publish a successor for later, and then let go."""
    return at.Arming(task, due), (do.Arm(task, due),)


def start(run: at.Running, rules: Rules) -> Step:
    """Rate limiters come last: whatever else keeps a task from running burns no quota."""
    return (at.Reserving(run), RESERVE) if rules.limited else (run, EXECUTE)


def park(task: Task, blocked: Blocked, now: float, rules: Rules | None = None) -> Step:
    """Let it wait in the line of a lock, to be woken or to return by itself."""
    until = waiting.falls_back_at(task, blocked, now, rules.wait_limit_s if rules is not None else None)
    return at.Parking(task, blocked, until), (do.Park(task, blocked, until),)
