"""What a task must hold while it runs: values that name a lock, without any I/O.

Locks are leases: each ends `ttl_ms` after its holder was last heard of, unless it is declared
`recovery=Recovery.MANUAL`. Limiters are not asked for where a person runs a task by hand.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from msgspec.structs import replace

from natsume.binding import locker
from natsume.exceptions import UsageError
from natsume.lock_registry import LockedObjectType
from natsume.model import limits, subject
from natsume.model.limit_rule import ConcurrencyRule, RateRule
from natsume.model.lock import Mode, Want


class Recovery(StrEnum):
    """What becomes of a lock whose holder is gone: it ends by itself, or stays until released by hand."""

    TTL = "ttl"
    MANUAL = "manual"


@dataclass(frozen=True, init=False)
class BaseLock:
    """A claim on one object: its type, its key and any further keys; equal claims are equal values."""

    kind: ClassVar[str] = "lock"
    mode: ClassVar[Mode] = Mode.PERMIT

    object_type: LockedObjectType
    key: str
    extra_keys: tuple[str, ...]
    ttl_ms: int = field(compare=False)
    recovery: Recovery = field(compare=False)
    wait_s: float = field(compare=False)

    def __init__(
        self,
        object_type: LockedObjectType | str,
        key: object,
        *extra_keys: object,
        ttl_ms: int = 30_000,
        recovery: Recovery = Recovery.TTL,
        wait_s: float | None = None,
    ) -> None:
        """`wait_s` is how long `async with` waits for it, as long as `ttl_ms` unless it is given."""
        if isinstance(ttl_ms, bool) or not isinstance(ttl_ms, int) or ttl_ms <= 0:
            raise UsageError(f"{type(self).__name__}: ttl_ms is a positive number of milliseconds, not {ttl_ms!r}")
        fill = object.__setattr__
        fill(self, "object_type", LockedObjectType(object_type))
        fill(self, "key", str(key))
        fill(self, "extra_keys", tuple(str(extra) for extra in extra_keys))
        fill(self, "ttl_ms", ttl_ms)
        fill(self, "recovery", Recovery(recovery))
        fill(self, "wait_s", _seconds(type(self).__name__, ttl_ms / 1000 if wait_s is None else wait_s))

    async def __aenter__(self) -> "Held":
        """Take it for the task that runs here, for this block; raises LockNotAcquired."""
        return Held(self, await locker(self.lock_key).hold(self.want, self.wait_s))

    async def __aexit__(self, *why: object) -> None:
        await locker(self.lock_key).give_back(self.want)

    @property
    def lock_key(self) -> str:
        """The lock's name for people: kind, object type and keys."""
        return ":".join((self.kind, self.object_type, self.key, *self.extra_keys))

    @property
    def bucket_key(self) -> str:
        """The lock's key in its bucket: those of another kind are other locks."""
        return subject.lock_key(self.kind, self.object_type, self.key, *self.extra_keys)

    @property
    def permits(self) -> int:
        """How many may hold it at a time."""
        return 1

    @property
    def want(self) -> Want:
        """What is asked of the broker."""
        manual = self.recovery is Recovery.MANUAL
        return Want(self.bucket_key, self.lock_key, self.mode, self.permits, self.ttl_ms / 1000, manual)

    def __lt__(self, other: "BaseLock") -> bool:
        # Tasks that take their locks in this one order cannot wait for each other in a circle.
        return (self.bucket_key, self.mode) < (other.bucket_key, other.mode)


def _seconds(name: str, wait_s: object) -> float:
    if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not 0 <= wait_s <= limits.CONFIGURED_S_MAX:
        raise UsageError(f"{name}: wait_s is a number of seconds from 0 to {limits.CONFIGURED_S_MAX:g}, not {wait_s!r}")
    return float(wait_s)


@dataclass(frozen=True)
class Held:
    """A lock that a block of a task holds; its fencing `token` only grows from holder to holder."""

    lock: BaseLock
    token: int


class MutexLock(BaseLock):
    """Held by one task at a time."""

    kind = "mutex"


class SharedRWLock(BaseLock):
    """Held by any number of readers, while no writer holds it or has asked for it."""

    kind = "rwlock"
    mode = Mode.SHARED


class ExclusiveRWLock(BaseLock):
    """Held by one writer alone: after those that read when it asked, however many readers come later."""

    kind = "rwlock"
    mode = Mode.EXCLUSIVE


class Semaphore(BaseLock):
    """Held by at most `permits` tasks at a time; a subclass may set `permits` for all of its kind."""

    kind = "semaphore"
    default_permits: ClassVar[int] = 1

    def __init__(
        self,
        object_type: LockedObjectType | str,
        key: object,
        *extra_keys: object,
        permits: int | None = None,
        ttl_ms: int = 30_000,
        recovery: Recovery = Recovery.TTL,
        wait_s: float | None = None,
    ) -> None:
        super().__init__(object_type, key, *extra_keys, ttl_ms=ttl_ms, recovery=recovery, wait_s=wait_s)
        given = self.default_permits if permits is None else permits
        if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= limits.PERMITS_MAX:
            raise UsageError(f"{type(self).__name__}: permits is 1 to {limits.PERMITS_MAX}, not {given!r}")
        object.__setattr__(self, "_permits", given)

    @property
    def permits(self) -> int:
        """How many may hold it at a time."""
        return int(self.__dict__["_permits"])


class BaseLimiter(BaseLock):
    """Bounds a number or a rate, over all actors that name the same object; `limit` None switches it off."""

    kind = "limiter"
    limit: ClassVar[int | None] = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        try:
            cls.class_rule()
        except (TypeError, ValueError) as error:
            raise UsageError(f"{cls.__name__}: {error}") from None

    @classmethod
    def class_rule(cls) -> RateRule | ConcurrencyRule | None:
        """What the class allows, where nothing else is configured; None if it is off."""
        return None


class ConcurrencyLimiter(BaseLimiter):
    """At most `limit` tasks with this key run at a time; subclasses set `limit`."""

    kind = "concurrency"

    @property
    def permits(self) -> int:
        """How many may run at a time."""
        return self.limit or limits.PERMITS_MAX

    @property
    def want(self) -> Want:
        """What is asked of the broker, where the number of permits may have been another a moment ago."""
        return replace(super().want, varies=True)

    @classmethod
    def class_rule(cls) -> ConcurrencyRule | None:
        """What the class allows, where nothing else is configured; None if it is off."""
        return None if cls.limit is None else ConcurrencyRule(cls.limit)


class RateLimiter(BaseLimiter):
    """At most `limit` starts in any `window_seconds`, evenly spaced after a first `burst`; subclasses set them.

    Each task counts for `n_items`. A task that must wait is told when, and returns then with its place kept.
    """

    kind = "rate"
    window_seconds: ClassVar[float] = 1.0
    burst: ClassVar[int] = 1

    @classmethod
    def class_rule(cls) -> RateRule | None:
        """What the class allows, where nothing else is configured; None if it is off."""
        return None if cls.limit is None else RateRule(cls.limit, cls.window_seconds, cls.burst)

    def __init__(self, object_type: LockedObjectType | str, key: object, *extra_keys: object, n_items: int = 1) -> None:
        super().__init__(object_type, key, *extra_keys)
        if isinstance(n_items, bool) or not isinstance(n_items, int) or not 1 <= n_items <= limits.RATE_MAX:
            raise UsageError(f"{type(self).__name__}: n_items is 1 to {limits.RATE_MAX}, not {n_items!r}")
        object.__setattr__(self, "n_items", n_items)

    async def __aenter__(self) -> Held:
        raise UsageError(f"{self.lock_key}: a rate limiter holds back a start; name it in execution_locks")

    n_items: int
