"""The base of every actor: a class whose fields are a task's arguments."""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from natsume.binding import current
from natsume.enums import CatchUp, Overlap, Priority, Size
from natsume.exceptions import UsageError
from natsume.lock_registry import LockedObjectType
from natsume.locks import BaseLock, MutexLock
from natsume.model.claim import Unique
from natsume.retry_policies import NoRetry, RetryPolicyBase
from natsume.schedules import TaskScheduleBase
from natsume.threads import needs_loop


class BaseTask:
    """One actor: a dataclass (or msgspec struct, or pydantic model) of arguments, and `execute`."""

    __slots__ = ()

    priority: ClassVar[Priority] = Priority.NORMAL
    size: ClassVar[Size] = Size.SMALL
    retry_policy: ClassVar[RetryPolicyBase] = NoRetry()
    dlq_eligible: ClassVar[bool] = False
    timeout_s: ClassVar[float] = 3600.0
    cpu_limit_s: ClassVar[float | None] = None
    memory_limit_mb: ClassVar[float | None] = None
    drop_on_shutdown: ClassVar[bool] = False
    wait_limit_s: ClassVar[float | None] = None
    on_wait_limit: ClassVar[str] = "dead_letter"
    events: ClassVar[tuple[str, ...]] = ()
    events_from: ClassVar[str] = "now"
    unique: ClassVar[Unique | None] = None
    takes_result: ClassVar[str | None] = None
    cancel: ClassVar[str] = "cooperative"
    cancel_by: ClassVar[str] = "operator"
    replay_by: ClassVar[str] = "operator"
    batch_max: ClassVar[int | None] = None
    batch_wait_s: ClassVar[float] = 0.0

    # Lets a pydantic model set the attributes above without annotating them; nothing else reads it.
    model_config: ClassVar[Any] = {
        "ignored_types": (Priority, Size, RetryPolicyBase, TaskScheduleBase, bool, int, float, str, tuple, Unique),
    }

    @property
    def execution_locks(self) -> list[BaseLock]:
        """The locks that are held while `execute` runs."""
        return []

    # Not `async`, so that a subclass may define it either way.
    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work, in the event loop where it is a coroutine, else in a thread; its parameters are injected."""
        raise NotImplementedError(f"{type(self).__name__} has no execute()")

    @needs_loop
    async def schedule(
        self,
        at_time: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        *,
        now: bool = False,
        session: Any = None,
    ) -> str:
        """Submit this task with the bound client and return its id.

        Inside `execute` it becomes visible with the parent's commit, or at once with `now=True`. In a service it may
        take a `session` of SQLAlchemy, and is then submitted once that one's transaction has committed.
        """
        if at_time is not None:
            given: object = at_time
            if not isinstance(given, datetime) or given.utcoffset() is None:
                raise UsageError(
                    f"{type(self).__name__}.schedule: at_time is a datetime with a time zone, such as"
                    f" datetime.now(UTC), not {given!r}"
                )
        if session is None:
            return await current().schedule(self, at=at_time, labels=labels, now=now)
        return await current().schedule(self, at=at_time, labels=labels, now=now, session=session)

    def serialize(self) -> tuple[Any, ...]:
        """The values of the fields, in their order."""
        return tuple([getattr(self, name) for name in field_names(type(self))])


class PeriodicBaseTask(BaseTask):
    """An actor that runs by the clock, one of its tasks at a time; it needs only a `default_schedule`."""

    __slots__ = ()

    default_schedule: ClassVar[TaskScheduleBase]
    _enabled: ClassVar[bool] = True
    catch_up: ClassVar[CatchUp] = CatchUp.ONCE
    catch_up_window_s: ClassVar[float] = 3600.0
    overlap: ClassVar[Overlap] = Overlap.ONE_WAITS
    jitter_s: ClassVar[float] = 0.0

    @property
    def execution_locks(self) -> list[BaseLock]:
        """A mutex for the class, unless its tasks may overlap."""
        if self.overlap is Overlap.ALL:
            return []
        return [MutexLock(LockedObjectType.TASK, type(self).__name__)]


@dataclasses.dataclass
class PeriodicVoAwareBaseTask(PeriodicBaseTask):
    """An actor that runs by the clock once for each VO, its argument; one task of a VO at a time."""

    vo: str

    @property
    def execution_locks(self) -> list[BaseLock]:
        """A mutex for the class and the VO, unless its tasks may overlap."""
        if self.overlap is Overlap.ALL:
            return []
        return [MutexLock(LockedObjectType.TASK, type(self).__name__, self.vo)]


def field_names(cls: type) -> tuple[str, ...]:
    """The names of a task class's arguments, in order."""
    if is_model(cls):
        return tuple(cls.model_fields)  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls) if field.init)
    return tuple(getattr(cls, "__struct_fields__", ()))


def is_model(cls: type) -> bool:
    """Whether this is a pydantic model; told without importing pydantic."""
    return hasattr(cls, "model_validate_json")
