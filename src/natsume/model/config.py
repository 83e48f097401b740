"""What the tasks file says: VOs, and per task its schedules, retries and limits, overridden per VO.

Nothing given means: as the actor's class says. The structs are frozen; merging makes new ones.
"""

from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from natsume.model import limits, times

Seconds = Annotated[float, Meta(ge=0, le=limits.CONFIGURED_S_MAX)]
PositiveSeconds = Annotated[float, Meta(gt=0, le=limits.CONFIGURED_S_MAX)]
Megabytes = Annotated[float, Meta(gt=0, le=limits.MEMORY_LIMIT_MAX_MB)]
Interval = Annotated[float, Meta(ge=1, le=limits.CONFIGURED_S_MAX)]
Text = Annotated[str, Meta(min_length=1, max_length=limits.HEADER_VALUE_MAX)]
Retries = Annotated[int, Meta(ge=0, le=limits.ATTEMPT_MAX)]


class _Part(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A mapping of the file; unknown keys are refused."""


P = TypeVar("P", bound=_Part)


class ScheduleConfig(_Part, frozen=True):
    """A named instance of a periodic task: at most one of `every` (seconds), `cron` and `rrule`.

    None of the three means the class's `default_schedule`; `timezone` concerns `cron` and `rrule`. `args`
    are the instance's arguments by name. `enabled` is None where nothing is said, which means yes.
    """

    every: Interval | None = None
    cron: Text | None = None
    rrule: Text | None = None
    timezone: Text | None = None
    args: dict[str, Any] = {}
    enabled: bool | None = None

    @property
    def timing(self) -> tuple[float | None, str | None, str | None]:
        """The three ways to say when, of which at most one is given."""
        return self.every, self.cron, self.rrule


class RetriesConfig(_Part, frozen=True):
    """Overrides of a task's retry policy; all None leaves the class's own."""

    max_retries: Retries | None = None
    base_delay_seconds: Seconds | None = None
    max_delay_seconds: Seconds | None = None


class LimitConfig(_Part, frozen=True):
    """What a limiter or a semaphore allows, wherever something is given; with `enabled` false a limiter is off."""

    limit: Annotated[int, Meta(ge=1, le=limits.RATE_MAX)] | None = None
    window_seconds: Annotated[float, Meta(ge=times.WINDOW_MIN_S, le=limits.CONFIGURED_S_MAX)] | None = None
    burst: Annotated[int, Meta(ge=1, le=limits.RATE_MAX)] | None = None
    permits: Annotated[int, Meta(ge=1, le=limits.PERMITS_MAX)] | None = None
    enabled: bool | None = None


class LimitsConfig(_Part, frozen=True):
    """Overrides of a task's limits: what it may take, and what its limiters and semaphores allow."""

    timeout_s: PositiveSeconds | None = None
    rate: LimitConfig | None = None
    concurrency: LimitConfig | None = None
    semaphore: LimitConfig | None = None
    cpu_limit_s: PositiveSeconds | None = None
    memory_limit_mb: Megabytes | None = None


class SizeConfig(_Part, frozen=True):
    """What a try of any task of one size may take, where neither its class nor its own limits say anything."""

    timeout_s: PositiveSeconds | None = None
    cpu_limit_s: PositiveSeconds | None = None
    memory_limit_mb: Megabytes | None = None


class SizesConfig(_Part, frozen=True):
    """What tasks may take, by their size."""

    small: SizeConfig = SizeConfig()
    medium: SizeConfig = SizeConfig()
    large: SizeConfig = SizeConfig()


class LimitSet(msgspec.Struct, frozen=True, omit_defaults=True):
    """A limit that somebody set while the system runs: of a lock by its name, or of a kind of an actor's locks."""

    name: str
    rule: LimitConfig
    who: str
    why: str
    at: float
    actor: str | None = None
    vo: str | None = None

    @property
    def target(self) -> tuple[str, str | None, str | None]:
        """What it is set for; there is one for each target."""
        return self.name, self.actor, self.vo


class LimitsSet(msgspec.Struct, frozen=True, omit_defaults=True):
    """All limits that are set, and when each name was last changed, also by an end of what was set."""

    sets: tuple[LimitSet, ...] = ()
    changed: dict[str, float] = {}


class TaskConfig(_Part, frozen=True):
    """What is configured of one task; `enabled` concerns its schedules only, None is as the class says."""

    enabled: bool | None = None
    schedules: dict[str, ScheduleConfig] = {}
    retries: RetriesConfig = RetriesConfig()
    limits: LimitsConfig = LimitsConfig()


class TasksConfig(_Part, frozen=True, rename={"vo_overrides": "vo-overrides"}):
    """The whole file: the VOs, what holds for all of them, what one of them has otherwise, and what sizes may take."""

    vos: tuple[Text, ...] = ()
    common: dict[str, TaskConfig] = {}
    vo_overrides: dict[str, dict[str, TaskConfig]] = {}
    limits: dict[str, LimitConfig] = {}
    sizes: SizesConfig = SizesConfig()

    def for_task(self, name: str, vo: str | None = None) -> TaskConfig:
        """What holds for a task (`group:Name`) in a VO: its overrides over what is common."""
        common = self.common.get(name, NOTHING)
        override = self.vo_overrides.get(vo, {}).get(name) if vo is not None else None
        return common if override is None else merged(common, override)


class Applied(msgspec.Struct, frozen=True):
    """A configuration as the `config` bucket keeps it: who applied it, when, and a hash of its content."""

    config: TasksConfig
    who: str
    at: float
    hash: str


class Unreadable(msgspec.Struct, frozen=True):
    """A configuration is applied that this version cannot read, most likely by a newer one."""

    why: str
    what: str = "tasks file"

    def __str__(self) -> str:
        return f"the applied {self.what} cannot be read by this version of natsume ({self.why})"


NOTHING: Final = TaskConfig()


def merged(common: TaskConfig, override: TaskConfig) -> TaskConfig:
    """A task's configuration where `override` wins wherever it says anything.

    Instances are merged by name: a way to say when replaces the other's, arguments are merged by name.
    """
    schedules = dict(common.schedules)
    for name, own in override.schedules.items():
        schedules[name] = _merged_schedule(schedules[name], own) if name in schedules else own
    return TaskConfig(
        common.enabled if override.enabled is None else override.enabled,
        schedules,
        over(common.retries, override.retries),
        over(common.limits, override.limits),
    )


def _merged_schedule(common: ScheduleConfig, own: ScheduleConfig) -> ScheduleConfig:
    if any(way is not None for way in own.timing):
        common = replace(common, every=None, cron=None, rrule=None, timezone=None)
    return replace(over(common, own), args={**common.args, **own.args})


def over(common: P, own: P) -> P:
    """A part where `own` wins wherever it says anything."""
    given = {}
    for name in own.__struct_fields__:
        value, standing = getattr(own, name), getattr(common, name)
        if value is not None:
            given[name] = over(standing, value) if isinstance(value, _Part) and standing is not None else value
    return replace(common, **given)
