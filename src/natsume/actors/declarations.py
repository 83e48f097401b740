"""What a task class declares beside its fields and `execute`, and what is wrong with it: events, waits, rights."""

import inspect
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Final

from natsume.base_task import BaseTask, field_names
from natsume.core.rights import By, Widened, written
from natsume.model.claim import Unique
from natsume.model.event import is_pattern, meet, without_covered
from natsume.model.limits import CONFIGURED_S_MAX, MEMORY_LIMIT_MAX_MB

ON_WAIT_LIMIT: Final = ("dead_letter", "drop")
"""What becomes of a task that has waited as long as its actor allows."""


def declared(cls: type[BaseTask], name: str) -> Any:
    """What a class declares under this name; a field that is called so is an argument and declares nothing."""
    return getattr(BaseTask if name in field_names(cls) else cls, name)


def declaration_flaws(cls: type[BaseTask]) -> Iterator[str]:
    """A sentence for each flaw."""
    yield from _flaws_of_waiting(cls)
    yield from _flaws_of_limits(cls)
    yield from _flaws_of_rights(cls)
    yield from _flaws_of_events(cls)
    yield from _flaws_of_taking(cls)
    unique: object = declared(cls, "unique")
    if unique is not None and not isinstance(unique, Unique):
        yield f"{cls.__name__}.unique is {unique!r}: set it to a Unique, such as Unique(), or None"
    cancel: object = declared(cls, "cancel")
    if isinstance(cancel, str) and cancel not in {"cooperative", "interrupt"}:
        yield f'{cls.__name__}.cancel is {cancel!r}: set it to "cooperative" or "interrupt"'


def _flaws_of_waiting(cls: type[BaseTask]) -> Iterator[str]:
    limit: object = declared(cls, "wait_limit_s")
    number = isinstance(limit, int | float) and not isinstance(limit, bool)
    if limit is not None and not (number and 0 < limit <= CONFIGURED_S_MAX):  # type: ignore[operator]  # a number
        yield f"{cls.__name__}.wait_limit_s is {limit!r}: set it to a number of seconds above 0, or None"
    if declared(cls, "on_wait_limit") not in ON_WAIT_LIMIT:
        yield f'{cls.__name__}.on_wait_limit is {cls.on_wait_limit!r}: set it to "dead_letter" or "drop"'


def _flaws_of_limits(cls: type[BaseTask]) -> Iterator[str]:
    for name, most in (("cpu_limit_s", CONFIGURED_S_MAX), ("memory_limit_mb", MEMORY_LIMIT_MAX_MB)):
        limit: object = declared(cls, name)
        number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if limit is not None and not (number and 0 < limit <= most):  # type: ignore[operator]  # a number
            yield f"{cls.__name__}.{name} is {limit!r}: set it to a number above 0, or None"


def _flaws_of_taking(cls: type[BaseTask]) -> Iterator[str]:
    name: object = declared(cls, "takes_result")
    if name is None:
        return
    if name not in field_names(cls):
        yield f"{cls.__name__}.takes_result is {name!r}: set it to the name of one of its arguments"
    elif inspect.signature(cls).parameters[str(name)].default is inspect.Parameter.empty:
        yield f"{cls.__name__}.{name} takes a result, which is not known when the task is made: give it a default"
    elif declared(cls, "unique") is not None:
        yield f"{cls.__name__} is unique by what is known when it is submitted, and takes a result: drop one of the two"


def rights_of(cls: type[BaseTask]) -> str | None:
    """What the tasks of a class without flaws carry of its rights."""
    return written(Widened(By(declared(cls, "cancel_by")), By(declared(cls, "replay_by"))))


def _flaws_of_rights(cls: type[BaseTask]) -> Iterator[str]:
    for name in ("cancel_by", "replay_by"):
        if declared(cls, name) not in tuple(By):
            yield f'{cls.__name__}.{name} is {declared(cls, name)!r}: set it to "operator", "owner" or "tenant"'


def _flaws_of_events(cls: type[BaseTask]) -> Iterator[str]:
    patterns: object = declared(cls, "events")
    if isinstance(patterns, str) or not isinstance(patterns, Sequence):
        yield f'{cls.__name__}.events is {patterns!r}: set it to a tuple, such as ("job.submitted",)'
        return
    for pattern in patterns:
        if not (isinstance(pattern, str) and is_pattern(pattern)):
            yield f"{cls.__name__}.events has {pattern!r}: write a type such as job.submitted, with * for any token"
            return
    for one, other in combinations(without_covered(patterns), 2):
        if meet(one, other):
            yield f"{cls.__name__}.events has {one} and {other}, which take some event both: name it in one of them"
    if declared(cls, "events_from") not in {"now", "beginning"}:
        yield f'{cls.__name__}.events_from is {cls.events_from!r}: set it to "now" or "beginning"'
    from_event = getattr(cls, "from_event", None)
    if from_event is not None and not (inspect.ismethod(from_event) and from_event.__self__ is cls):
        yield f"{cls.__name__}.from_event is no classmethod: define it with @classmethod"
    elif from_event is not None and inspect.iscoroutinefunction(from_event):
        yield f"{cls.__name__}.from_event is a coroutine: define it without async"
