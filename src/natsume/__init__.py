"""Natsume: an event-driven actor system on NATS JetStream."""

from natsume.base_task import BaseTask
from natsume.depends import DBDepends, Depends, NoTransaction, provide
from natsume.enums import Priority, Size
from natsume.exceptions import (
    ArgumentsError,
    NatsumeError,
    Snooze,
    TaskRetryRequestedError,
    UnretryableError,
    UsageError,
)
from natsume.lock_registry import LockedObjectType, register_locked_object_type
from natsume.locks import BaseLimiter, BaseLock, MutexLock
from natsume.retry_policies import ExponentialBackoff, NoRetry, RetryPolicyBase

__all__ = [
    "ArgumentsError",
    "BaseLimiter",
    "BaseLock",
    "BaseTask",
    "DBDepends",
    "Depends",
    "ExponentialBackoff",
    "LockedObjectType",
    "MutexLock",
    "NatsumeError",
    "NoRetry",
    "NoTransaction",
    "Priority",
    "RetryPolicyBase",
    "Size",
    "Snooze",
    "TaskRetryRequestedError",
    "UnretryableError",
    "UsageError",
    "provide",
    "register_locked_object_type",
]
