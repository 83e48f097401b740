"""When a failed task is tried again: policies that turn a retry's number into a time or None."""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from natsume.exceptions import UsageError

DELAY_MAX_S: Final = 100 * 365 * 86_400.0
"""No delay is longer, so that the time of a retry is always a date."""


class RetryPolicyBase(ABC):
    """Decides when a failed task is tried again."""

    @abstractmethod
    def schedule_retry(self, attempt: int, exception: BaseException) -> datetime | None:
        """The time of retry number `attempt` (from 1) after `exception`, aware; None to give up."""

    def now(self) -> datetime:
        """The time that delays count from; the one place where a policy reads a clock."""
        return datetime.now(UTC)


@dataclass(frozen=True)
class NoRetry(RetryPolicyBase):
    """Never tries again."""

    def schedule_retry(self, attempt: int, exception: BaseException) -> None:  # noqa: ARG002
        """None, whatever happened."""
        return


@dataclass(frozen=True)
class ExponentialBackoff(RetryPolicyBase):
    """Doubles the delay at each retry: base, 2 * base, 4 * base, …, for `max_retries` retries.

    `jitter` spreads each delay by up to that fraction to either side; `uniform` draws from [0, 1).
    """

    base_delay_seconds: float = 10
    max_retries: int = 5
    max_delay_seconds: float | None = field(default=None, kw_only=True)
    jitter: float = field(default=0.0, kw_only=True)
    uniform: Callable[[], float] = field(default=random.random, kw_only=True, repr=False, compare=False)

    def __post_init__(self) -> None:
        longest = math.inf if self.max_delay_seconds is None else self.max_delay_seconds
        if not (0 <= self.base_delay_seconds < math.inf and longest >= 0):
            raise UsageError(f"{self}: delays are finite numbers of seconds, from 0")
        if isinstance(self.max_retries, bool) or not isinstance(self.max_retries, int) or self.max_retries < 0:
            raise UsageError(f"{self}: max_retries is a whole number, from 0")
        if not 0 <= self.jitter <= 1:
            raise UsageError(f"{self}: jitter is a fraction between 0 and 1")

    def delay_s(self, attempt: int) -> float | None:
        """The delay before retry number `attempt` (from 1), without jitter; None after the last one."""
        if attempt > self.max_retries:
            return None
        longest = DELAY_MAX_S if self.max_delay_seconds is None else self.max_delay_seconds
        try:
            delay = math.ldexp(self.base_delay_seconds, max(attempt, 1) - 1)
        except OverflowError:
            delay = math.inf
        return min(delay, longest, DELAY_MAX_S)

    def schedule_retry(self, attempt: int, exception: BaseException) -> datetime | None:  # noqa: ARG002
        """The time of retry number `attempt`, or None when the retries are used up."""
        delay = self.delay_s(attempt)
        if delay is None:
            return None
        if self.jitter:
            delay *= 1 + self.jitter * (2 * self.uniform() - 1)
        return self.now() + timedelta(seconds=delay)
