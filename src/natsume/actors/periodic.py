"""What a periodic class says of its ticks, read once."""

from collections.abc import Iterator
from dataclasses import dataclass

from natsume.base_task import BaseTask, PeriodicBaseTask, PeriodicVoAwareBaseTask
from natsume.enums import CatchUp, Overlap
from natsume.model.times import CATCH_UP_WINDOW_MAX_S
from natsume.schedules import CronSchedule, IntervalSeconds, RRuleSchedule, Schedule


@dataclass(frozen=True, slots=True)
class Periodic:
    """When an actor ticks, and what becomes of ticks that are late or overlap."""

    schedule: Schedule
    enabled: bool = True
    catch_up: CatchUp = CatchUp.ONCE
    catch_up_window_s: float = 3600.0
    overlap: Overlap = Overlap.ONE_WAITS
    jitter_s: float = 0.0
    per_vo: bool = False


def periodic_of(cls: type[BaseTask]) -> Periodic | None:
    """What a class says, or None if it is not periodic."""
    if not issubclass(cls, PeriodicBaseTask):
        return None
    schedule = cls.default_schedule
    assert isinstance(schedule, Schedule)
    return Periodic(
        schedule,
        bool(cls._enabled),
        CatchUp(cls.catch_up),
        float(cls.catch_up_window_s),
        Overlap(cls.overlap),
        float(cls.jitter_s),
        issubclass(cls, PeriodicVoAwareBaseTask),
    )


def flaws_of(cls: type[BaseTask]) -> Iterator[str]:
    """What keeps a periodic class from being scheduled, a sentence each."""
    if not issubclass(cls, PeriodicBaseTask):
        return
    name = cls.__name__
    schedule: object = getattr(cls, "default_schedule", None)
    if not isinstance(schedule, IntervalSeconds | CronSchedule | RRuleSchedule):
        found = "missing" if schedule is None else repr(schedule)
        yield f"{name}.default_schedule is {found}: set it to an IntervalSeconds, a CronSchedule or an RRuleSchedule"
    for attribute, values in (("catch_up", CatchUp), ("overlap", Overlap)):
        if getattr(cls, attribute) not in list(values):
            yield f"{name}.{attribute} is {getattr(cls, attribute)!r}: set it to one of {', '.join(values)}"
    for attribute, most in (("catch_up_window_s", CATCH_UP_WINDOW_MAX_S), ("jitter_s", CATCH_UP_WINDOW_MAX_S)):
        value: object = getattr(cls, attribute)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            yield f"{name}.{attribute} is {value!r}: set it to a number of seconds from 0 to {most:g}"
