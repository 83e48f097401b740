"""What a limiter or a semaphore allows one task: its class, then the tasks file, then what was set by hand.

The more special wins over the more general, within the file and within what was set: what is said of an actor over
what is said of a lock, of a tenant (VO) over what is said of all. What was set wins over the file wherever it says
anything.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from natsume.exceptions import UsageError
from natsume.model.config import LimitConfig, LimitSet, LimitsSet, TasksConfig, over
from natsume.model.limit_rule import ConcurrencyRule, RateRule
from natsume.model.limits import LIMITS_SET_MAX, PERMITS_MAX

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "rate": ("limit", "window_seconds", "burst", "enabled"),
    "concurrency": ("limit", "enabled"),
    "semaphore": ("permits",),
}
"""What can be said of each kind of lock that has a limit."""

Sets = Mapping[tuple[str, str | None, str | None], LimitSet]


def kind_of(name: str) -> str:
    """The kind in a lock's name, or the kind itself."""
    return name.partition(":")[0]


def flaw(name: str, rule: LimitConfig) -> str | None:
    """What keeps a limit from holding for locks of this name or kind: the field, and why."""
    fields = FIELDS.get(kind_of(name))
    if fields is None:
        return f" is no name of a lock with a limit; it begins with {', '.join(FIELDS)}"
    for field in rule.__struct_fields__:
        if getattr(rule, field) is not None and field not in fields:
            return f".{field} means nothing for {kind_of(name)}; there are {', '.join(fields)}"
    if kind_of(name) == "concurrency" and rule.limit is not None and rule.limit > PERMITS_MAX:
        return f".limit is {rule.limit}; at most {PERMITS_MAX} may run at a time under one limiter"
    if rule == LimitConfig():
        return f" says nothing; give one of {', '.join(fields)}"
    return None


def with_set(standing: LimitsSet | None, one: LimitSet) -> LimitsSet:
    """What is set, and this besides, over what was set for the same before; raises UsageError for too many."""
    found = standing or LimitsSet()
    before = by_target(found).get(one.target)
    if before is not None:
        one = replace(one, rule=over(before.rule, one.rule))
    others = tuple(other for other in found.sets if other.target != one.target)
    if len(others) >= LIMITS_SET_MAX:
        raise UsageError(f"{LIMITS_SET_MAX} limits are set; take some back with `natsume limits unset`")
    return LimitsSet((*others, one), _changed(found, one.name, one.at))


def without(standing: LimitsSet | None, target: tuple[str, str | None, str | None], at: float) -> LimitsSet:
    """What is set without this; raises UsageError where there is no such thing."""
    found = standing or LimitsSet()
    left = tuple(one for one in found.sets if one.target != target)
    if len(left) == len(found.sets):
        raise UsageError(f"nothing is set for {target[0]}; `natsume limits ls` lists what is")
    return LimitsSet(left, _changed(found, target[0], at))


def _changed(found: LimitsSet, name: str, at: float) -> dict[str, float]:
    """When each name was last changed, at most for so many names: of those that changed long ago no place is left."""
    changed = {**found.changed, name: at}
    latest = sorted(changed, key=lambda one: changed[one])[-2 * LIMITS_SET_MAX :]
    return {one: changed[one] for one in latest}


def by_target(found: LimitsSet) -> Sets:
    """What was set, to be looked up."""
    return {one.target: one for one in found.sets}


def allowed(
    name: str, own: LimitConfig, actor: str, vo: str | None, config: TasksConfig | None, sets: Sets
) -> LimitConfig:
    """What the lock of this name allows a task of this actor and tenant; `own` is what its class says."""
    for layer in (*_configured(name, actor, vo, config), *_set(name, actor, vo, sets)):
        own = over(own, layer)
    return own


def rate_rule(rule: LimitConfig, version: int = 0) -> RateRule | None:
    """The rule of a rate limiter; None if it is off."""
    if rule.limit is None or rule.enabled is False:
        return None
    return RateRule(rule.limit, rule.window_seconds or 1.0, rule.burst or 1, version)


def concurrency_rule(rule: LimitConfig) -> ConcurrencyRule | None:
    """The rule of a concurrency limiter, None if it is off, or of a semaphore."""
    limit = rule.permits if rule.permits is not None else rule.limit
    return None if limit is None or rule.enabled is False else ConcurrencyRule(limit)


def version_of(name: str, applied_at: float, found: LimitsSet) -> int:
    """A number that has grown whenever what is allowed under a name may have changed: the time in milliseconds."""
    changed = (found.changed.get(name, 0.0), found.changed.get(kind_of(name), 0.0))
    return int(1000 * max(applied_at, *changed))


def _configured(name: str, actor: str, vo: str | None, config: TasksConfig | None) -> Iterator[LimitConfig]:
    if config is None:
        return
    if name in config.limits:
        yield config.limits[name]
    own: LimitConfig | None = getattr(config.for_task(actor, vo).limits, kind_of(name))
    if own is not None:
        yield own


def _set(name: str, actor: str, vo: str | None, sets: Sets) -> Iterator[LimitConfig]:
    if not sets:
        return
    kind = kind_of(name)
    tenants = (None,) if vo is None else (None, vo)
    for who, what in ((None, name), (actor, kind), (actor, name)):
        for tenant in tenants:
            found = sets.get((what, who, tenant))
            if found is not None:
                yield found.rule
