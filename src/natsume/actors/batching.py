"""What a batching actor declares: how many of its tasks one call runs, how long it gathers them, which go together."""

import inspect
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Any, NamedTuple

from natsume.actors.declarations import declared
from natsume.actors.inject import Plan, make_plan
from natsume.base_task import BaseTask, PeriodicBaseTask, field_names
from natsume.control import TaskControl
from natsume.enums import Size
from natsume.exceptions import UsageError
from natsume.given import TaskInfo
from natsume.model.limits import BATCH_MAX
from natsume.model.times import BATCH_WAIT_MAX_S
from natsume.results import JoinResults

KeyOf = Callable[[Any], Hashable]
"""Takes a task, gives what it has in common with all tasks of its batch."""


class Batching(NamedTuple):
    """How the tasks of an actor run together; without a `key`, all of them may."""

    most: int
    wait_s: float
    key: KeyOf | None = None


def batching_of(cls: type[BaseTask]) -> Batching | None:
    """How the tasks of a class without flaws run together; None if they run one by one."""
    most = declared(cls, "batch_max")
    return None if most is None else Batching(most, float(declared(cls, "batch_wait_s")), _key(cls))


def plan_of(name: str, cls: Any) -> Plan:
    """What an actor's `execute`, or its `execute_batch`, asks for."""
    if declared(cls, "batch_max") is None:
        return make_plan(name, cls.execute)
    # Without its binding to the class the tasks are its first parameter, as a task is that of `execute`.
    plan = make_plan(name, partial(cls.execute_batch.__func__, cls))
    for kind in (TaskInfo, TaskControl, JoinResults):
        if plan.gives(kind):
            raise UsageError(
                f"{name}: execute_batch() runs several tasks, so none is told by {kind.__name__}; {_INSTEAD}"
            )
    return plan


_INSTEAD = "use `with member(task) as info:`"


def batching_flaws(cls: type[BaseTask]) -> Iterator[str]:
    """A sentence for each flaw in what a class declares of its batches."""
    name, most, wait_s = cls.__name__, declared(cls, "batch_max"), declared(cls, "batch_wait_s")
    method: Any = getattr(cls, "execute_batch", None)
    if most is None:
        if method is not None:
            yield f"{name} has execute_batch() and no batch_max: say how many tasks one call may run"
        return
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= BATCH_MAX:
        yield f"{name}.batch_max is {most!r}: set it to a number from 1 to {BATCH_MAX}"
    number = isinstance(wait_s, int | float) and not isinstance(wait_s, bool)
    if not number or not 0 <= wait_s <= BATCH_WAIT_MAX_S:
        yield f"{name}.batch_wait_s is {wait_s!r}: set it to seconds from 0 to {BATCH_WAIT_MAX_S:g}"
    if not (inspect.ismethod(method) and inspect.iscoroutinefunction(method)):
        yield f"{name} has batch_max: define its `@classmethod async def execute_batch(cls, tasks, ...)`"
    if cls.size is not Size.SMALL:
        yield f"{name}.size is {cls.size!r}: a batching actor runs on the loop of its worker, leave its size SMALL"
    if issubclass(cls, PeriodicBaseTask):
        yield f"{name} is periodic: its tasks run one at a time, leave out batch_max"
    key = getattr(cls, "batch_key", None)
    if isinstance(key, str) and key not in field_names(cls):
        yield f"{name}.batch_key is {key!r}, which is none of its arguments: name one, or define it as a property"


def _key(cls: type[BaseTask]) -> KeyOf | None:
    key = getattr(cls, "batch_key", None)
    if key is None and "batch_key" not in field_names(cls):
        return None

    def key_of(task: Any) -> Hashable:
        value = getattr(task, key if isinstance(key, str) else "batch_key")
        value = value() if callable(value) else value
        hash(value)
        return value  # type: ignore[no-any-return]

    return key_of
