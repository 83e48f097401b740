"""What is wrong with a tasks file beyond its keys: by itself, and against the actors that are installed here."""

import difflib
from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec

from natsume.actors.registry import Actor, Registry
from natsume.core.limit_rules import FIELDS, flaw
from natsume.exceptions import ArgumentsError
from natsume.lock_registry import LockedObjectType, UnknownObjectType
from natsume.model import cron
from natsume.model.config import LimitConfig, ScheduleConfig, TasksConfig

_COLONS_MIN: Final = 2


def misfits(config: TasksConfig, registry: Registry) -> Iterator[str]:
    """The tasks that no actor here is, and the arguments that their actors do not take."""
    for name in config.limits:
        wrong = object_type_flaw(name)
        if wrong is not None:
            yield f"limits.{name}: {wrong}"
    names = [actor.name for actor in registry.actors]
    for path, name, vo in _tasks(config):
        actor = registry.get(name)
        if actor is None:
            yield f"{path} is no task that is installed here; {instead(name, names)}"
            continue
        for instance, schedule in config.for_task(name, vo).schedules.items():
            flaw = _arguments_flaw(actor, schedule.args, vo)
            if flaw is not None:
                yield f"{path}.schedules.{instance}.args: {flaw}"


def object_type_flaw(name: str) -> str | None:
    """What is wrong with the object type in a lock's name, as far as the types that are registered here tell."""
    given = name.split(":")[1]
    try:
        known = LockedObjectType(given)
    except UnknownObjectType as error:
        return str(error)
    return None if known == given else f"the object type is written {known}"


def _arguments_flaw(actor: Actor, args: dict[str, Any], vo: str | None) -> str | None:
    """What keeps an instance's arguments from being the actor's; the VO is added where it takes one."""
    for name in args:
        if name not in actor.arguments.names:
            return f"{name} is no argument of {actor.name}; {instead(name, actor.arguments.names)}"
    given = {"vo": vo or "vo", **args} if "vo" in actor.arguments.names else args
    try:
        actor.arguments.decode(msgspec.json.encode(given))
    except ArgumentsError as error:
        return str(error).removeprefix(f"{actor.name}: ")
    return None


def inconsistencies(config: TasksConfig) -> Iterator[str]:
    """What is wrong although each key for itself is right."""
    for unknown in config.vo_overrides.keys() - set(config.vos):
        yield f"vo-overrides.{unknown} is no VO of vos; {instead(unknown, config.vos)}"
    for name, rule in config.limits.items():
        yield from _wrong_limit(f"limits.{name}", name, rule)
    for path, name, vo in _tasks(config):
        tasks = config.common if vo is None else config.vo_overrides[vo]
        group, colon, actor = name.partition(":")
        if not (group and colon and actor):
            yield f"{path} is no task; its key is group:Name"
        for kind in FIELDS:
            rule = getattr(tasks[name].limits, kind)
            if rule is not None:
                yield from _wrong_limit(f"{path}.limits.{kind}", kind, rule)
        for instance, own in tasks[name].schedules.items():
            for wrong in _wrong_schedule(own):
                yield f"{path}.schedules.{instance}{wrong}"


def _wrong_limit(path: str, name: str, rule: LimitConfig) -> Iterator[str]:
    wrong = flaw(name, rule)
    if wrong is not None:
        yield path + wrong
    elif path == f"limits.{name}" and name.count(":") < _COLONS_MIN:
        yield f"{path} is no name of a lock; write kind, object type and key, such as rate:job:7"


def _tasks(config: TasksConfig) -> Iterator[tuple[str, str, str | None]]:
    """The path, the name and the VO of each task that is configured."""
    for name in config.common:
        yield f"common.{name}", name, None
    for vo, tasks in config.vo_overrides.items():
        for name in tasks:
            yield f"vo-overrides.{vo}.{name}", name, vo


def _wrong_schedule(schedule: ScheduleConfig) -> Iterator[str]:
    given = [way for way in ("every", "cron", "rrule") if getattr(schedule, way) is not None]
    if len(given) > 1:
        yield f" has {' and '.join(given)}; keep one of them"
    if schedule.every is not None and schedule.every % 1:
        yield f".every is {schedule.every:g}; write whole seconds"
    if schedule.every is not None and schedule.timezone is not None:
        yield ".timezone means nothing beside every; remove it"
    if schedule.cron is not None and not _is_cron(schedule.cron):
        yield f".cron is {schedule.cron!r}; write 5 fields, or 6 with the seconds first"
    if schedule.rrule is not None and (flaw := _rrule_flaw(schedule.rrule)):
        yield f".rrule is {schedule.rrule!r}, which is no recurrence rule: {flaw}"
    if schedule.timezone is not None and not _is_zone(schedule.timezone):
        yield f".timezone is {schedule.timezone!r}, which is no time zone; write one such as Europe/Berlin"


def _is_cron(text: str) -> bool:
    try:
        cron.parse(text)
    except ValueError:
        return False
    return True


def _rrule_flaw(text: str) -> str | None:
    from dateutil.rrule import rrulestr  # noqa: PLC0415 - most files have none

    try:
        rrulestr(text)
    except (ValueError, TypeError, AttributeError) as error:
        return " ".join(str(error).split()) or "it cannot be read"
    return None


def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - most files have none

    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True


def instead(key: str, known: Collection[str]) -> str:
    """What a wrong key may have been meant to be."""
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}"
    return f"there are {', '.join(known)}" if known else "there is none"
