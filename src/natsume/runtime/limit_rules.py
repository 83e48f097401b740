"""The limits that hold in a worker: as classes say, as the tasks file says, as they were set by hand."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from natsume.actors.registry import Actor
from natsume.core import limit_rules as core
from natsume.locks import BaseLimiter, ConcurrencyLimiter, RateLimiter, Semaphore
from natsume.model.config import Applied, LimitConfig, LimitsSet, TasksConfig, Unreadable
from natsume.model.limit_rule import ConcurrencyRule, RateRule
from natsume.model.limits import PERMITS_MAX
from natsume.model.lock import Want


class LimitRules:
    """Tells what a limiter or a semaphore allows a task; costs nothing where nothing is configured."""

    def __init__(self) -> None:
        self._config: TasksConfig | None = None
        self._applied_at = 0.0
        self._set = LimitsSet()
        self._by_target: core.Sets = {}

    def take_file(self, applied: Applied | Unreadable | None) -> None:
        """Let this tasks file hold from the next start of a task on."""
        self._config = applied.config if isinstance(applied, Applied) else None
        self._applied_at = applied.at if isinstance(applied, Applied) else 0.0

    def take_sets(self, found: LimitsSet | Unreadable | None) -> None:
        """Let what was set by hand hold from the next start of a task on."""
        self._set = found if isinstance(found, LimitsSet) else LimitsSet()
        self._by_target = core.by_target(self._set)

    def __call__(
        self, lock: BaseLimiter | Semaphore, actor: Actor, tenant: str | None
    ) -> RateRule | ConcurrencyRule | None:
        """What holds for a task of this actor and tenant; None where the limiter is off."""
        name, own = lock.lock_key, of_class(lock)
        if self._config is not None or self._set.changed:
            own = core.allowed(name, own, actor.name, tenant, self._config, self._by_target)
        if isinstance(lock, RateLimiter):
            return core.rate_rule(own, core.version_of(name, self._applied_at, self._set))
        return core.concurrency_rule(own)

    def of_block(self, want: Want, actor: Actor, tenant: str | None) -> Want:
        """What is asked for a lock that a block of a task takes, where its permits were configured."""
        kind = core.kind_of(want.name)
        if kind not in ("semaphore", "concurrency") or (self._config is None and not self._set.changed):
            return want
        own = LimitConfig(permits=want.permits) if kind == "semaphore" else LimitConfig(limit=want.permits)
        rule = core.concurrency_rule(core.allowed(want.name, own, actor.name, tenant, self._config, self._by_target))
        permits = rule.limit if rule is not None else PERMITS_MAX
        return replace(want, permits=permits, varies=want.varies or permits != want.permits)


def of_class(lock: BaseLimiter | Semaphore) -> LimitConfig:
    """What a limiter's class, or the semaphore itself, allows."""
    if isinstance(lock, RateLimiter):
        return LimitConfig(lock.limit, lock.window_seconds, lock.burst)
    if isinstance(lock, ConcurrencyLimiter):
        return LimitConfig(lock.limit)
    return LimitConfig(permits=lock.permits) if isinstance(lock, Semaphore) else LimitConfig()


def both(*takers: Callable[[Any], None]) -> Callable[[Any], None]:
    """One taker that tells all of these."""

    def take(value: Any) -> None:
        for one in takers:
            one(value)

    return take
