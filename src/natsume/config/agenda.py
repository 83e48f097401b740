"""What should tick: the schedules that the code and the configuration ask for, ready to be armed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import msgspec

from natsume.actors.registry import Actor, Registry
from natsume.core.reconcile import Wanted
from natsume.exceptions import ArgumentsError, UsageError
from natsume.model.config import ScheduleConfig, TaskConfig, TasksConfig
from natsume.model.subject import ready
from natsume.model.tick import DEFAULT, Entry, ScheduleKey
from natsume.schedules import CronSchedule, IntervalSeconds, RRuleSchedule, Schedule

_NOT_IN_NAMES = frozenset("@/")


@dataclass
class Agenda:
    """The schedules that should be there, the actors that it speaks for, and what keeps others from it."""

    wanted: dict[ScheduleKey, Wanted] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def agenda(registry: Registry, config: TasksConfig, off: Sequence[str], generation: float) -> Agenda:
    """What this code and configuration ask for; `off` are patterns of actors that shall not tick."""
    found = Agenda()
    for actor in registry.actors:
        found.known.add(actor.name)
        switched_off = any(fnmatchcase(actor.name, pattern) for pattern in off)
        per_vo = actor.periodic is not None and actor.periodic.per_vo
        for vo in config.vos if per_vo else (None,):
            task = config.for_task(actor.name, vo)
            if switched_off or not _enabled(actor, task):
                continue
            for instance, schedule in _instances(actor, task):
                key = ScheduleKey(actor.name, instance, vo)
                try:
                    found.wanted[key] = _wanted(actor, key, schedule, generation)
                except UsageError as error:
                    found.problems.append(f"{key.name} does not tick: {error}")
    # What is switched off by name is off, also where no actor of this name is installed.
    found.known.update(name for name, task in config.common.items() if task.enabled is False)
    return found


def schedule_of(actor: Actor, config: ScheduleConfig) -> Schedule:
    """When an instance is due: as configured, else as the class says; UsageError if nobody says."""
    if config.every is not None:
        return IntervalSeconds(config.every)  # type: ignore[arg-type]  # a float from the file, if it is whole
    if config.cron is not None:
        return CronSchedule(config.cron, config.timezone)
    if config.rrule is not None:
        return RRuleSchedule(config.rrule, timezone=config.timezone)
    if actor.periodic is None:
        raise UsageError("it has no schedule of its own; give it one of every, cron and rrule")
    return actor.periodic.schedule


def _enabled(actor: Actor, task: TaskConfig) -> bool:
    if task.enabled is not None:
        return task.enabled
    return actor.periodic is None or actor.periodic.enabled


def _instances(actor: Actor, task: TaskConfig) -> Iterator[tuple[str, ScheduleConfig]]:
    """The named instances that are on; a periodic class is the instance `default`, unless that needs arguments."""
    for name, schedule in task.schedules.items():
        if schedule.enabled is not False:
            yield name, schedule
    if actor.periodic is None or DEFAULT in task.schedules:
        return
    if not task.schedules or _fits(actor, "vo" if actor.periodic.per_vo else None):
        yield DEFAULT, ScheduleConfig()


def _fits(actor: Actor, vo: str | None) -> bool:
    try:
        _body(actor, vo, ScheduleConfig())
    except ArgumentsError:
        return False
    return True


def _wanted(actor: Actor, key: ScheduleKey, config: ScheduleConfig, generation: float) -> Wanted:
    if not _NOT_IN_NAMES.isdisjoint(key.instance) or (key.vo is not None and not key.vo.isprintable()):
        raise UsageError("the name of an instance has no '@' and no '/', that of a VO is printable")
    schedule = schedule_of(actor, config)
    entry = Entry(key, schedule.text, ready(actor.lane, actor.name), _body(actor, key.vo, config), generation)
    if actor.periodic is None:
        return Wanted(entry)
    return Wanted(entry, actor.periodic.catch_up, actor.periodic.catch_up_window_s)


def _body(actor: Actor, vo: str | None, config: ScheduleConfig) -> bytes:
    """The arguments of an instance, in the order of the class, known to fit it."""
    given = config.args if vo is None else {"vo": vo, **config.args}
    body = msgspec.json.encode(given, order="sorted")
    actor.arguments.decode(body)
    return body
