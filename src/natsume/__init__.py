"""Natsume: an event-driven actor system on NATS JetStream."""

from typing import Any

from natsume.base_task import BaseTask, PeriodicBaseTask, PeriodicVoAwareBaseTask
from natsume.control import Stop, TaskControl
from natsume.core.rights import Who
from natsume.depends import CallbackSpawner, DBDepends, Depends, NoTransaction, provide
from natsume.enums import CatchUp, Overlap, Priority, Size
from natsume.exceptions import (
    ArgumentsError,
    CancelHonoured,
    DuplicateTask,
    NatsumeError,
    Snooze,
    TaskRetryRequestedError,
    UnretryableError,
    UsageError,
)
from natsume.flows import Flow, chain, group, map  # noqa: A004 - natsume.map is what it is to people
from natsume.given import HeldLocks, TaskInfo
from natsume.lock_registry import LockedObjectType, register_locked_object_type
from natsume.locks import (
    BaseLimiter,
    BaseLock,
    ConcurrencyLimiter,
    ExclusiveRWLock,
    MutexLock,
    RateLimiter,
    Recovery,
    Semaphore,
    SharedRWLock,
)
from natsume.member import member
from natsume.model.claim import Unique
from natsume.model.event import Event
from natsume.model.record import When
from natsume.retry_policies import ExponentialBackoff, NoRetry, RetryPolicyBase
from natsume.schedules import CronSchedule, IntervalSeconds, RRuleSchedule, TaskScheduleBase
from natsume.threads import on_loop

__all__ = [
    "ArgumentsError",
    "BaseLimiter",
    "BaseLock",
    "BaseTask",
    "CallbackSpawner",
    "CancelHonoured",
    "CatchUp",
    "ConcurrencyLimiter",
    "CronSchedule",
    "DBDepends",
    "Depends",
    "DuplicateTask",
    "Event",
    "ExclusiveRWLock",
    "ExponentialBackoff",
    "Flow",
    "HeldLocks",
    "IntervalSeconds",
    "JoinResults",
    "LockedObjectType",
    "MemberResult",
    "MutexLock",
    "NatsumeError",
    "NoRetry",
    "NoTransaction",
    "Overlap",
    "PeriodicBaseTask",
    "PeriodicVoAwareBaseTask",
    "Priority",
    "RRuleSchedule",
    "RateLimiter",
    "Recovery",
    "RetryPolicyBase",
    "Semaphore",
    "SharedRWLock",
    "Size",
    "Snooze",
    "Stop",
    "TaskControl",
    "TaskInfo",
    "TaskRetryRequestedError",
    "TaskScheduleBase",
    "Unique",
    "UnretryableError",
    "UsageError",
    "When",
    "Who",
    "chain",
    "connect",
    "group",
    "map",
    "member",
    "on_loop",
    "provide",
    "register_locked_object_type",
]


def __getattr__(name: str) -> Any:
    # The client brings the connection with it: loaded only where it is used, so that `import natsume` is light.
    if name in {"JoinResults", "MemberResult"}:
        from natsume import results  # noqa: PLC0415

        return getattr(results, name)
    if name == "connect":
        from natsume.connecting import connect  # noqa: PLC0415

        return connect
    raise AttributeError(f"module 'natsume' has no attribute {name!r}")
