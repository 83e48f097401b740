"""What a limiter allows, as it is in force for one task: from its class, or as it was configured."""

import hashlib
from functools import lru_cache

import msgspec

from natsume.model import limits, times


class RateRule(msgspec.Struct, frozen=True):
    """At most `limit` starts in any `window_s`, after a first `burst`.

    `version` is that of the configuration that set it, 0 for a class: places that were given under an older
    version are void under a newer one.
    """

    limit: int
    window_s: float = 1.0
    burst: int = 1
    version: int = 0

    def __post_init__(self) -> None:
        _check("limit", self.limit, limits.RATE_MAX)
        _check("burst", self.burst, limits.RATE_MAX)
        if not times.WINDOW_MIN_S <= self.window_s <= limits.CONFIGURED_S_MAX:
            raise ValueError(f"a window is {times.WINDOW_MIN_S:g} s to a year, not {self.window_s!r}")


class ConcurrencyRule(msgspec.Struct, frozen=True):
    """At most `limit` at a time."""

    limit: int

    def __post_init__(self) -> None:
        _check("limit", self.limit, limits.PERMITS_MAX)


class Share(msgspec.Struct, frozen=True):
    """What one task takes of a rate limiter: the limiter's key, its rule, and how many items the task is."""

    key: str
    rule: RateRule
    items: int = 1

    @property
    def name(self) -> str:
        """What a place is kept under in a task: the same for the same share alone."""
        return _name(self.key, self.items, self.rule.version)


@lru_cache(maxsize=1024)
def _name(key: str, items: int, version: int) -> str:
    return hashlib.blake2b(f"{key} {items} {version}".encode(), digest_size=8).hexdigest()


def _check(name: str, value: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{name} is a number from 1 to {most}, not {value!r}")
