"""What a task must hold while it runs: values that name a lock, without any I/O."""

from dataclasses import dataclass, field
from typing import ClassVar

from natsume.exceptions import UsageError
from natsume.lock_registry import LockedObjectType
from natsume.model import subject


@dataclass(frozen=True, init=False)
class BaseLock:
    """A claim on one object: its type, its key and any further keys; equal claims are equal values."""

    kind: ClassVar[str] = "lock"

    object_type: LockedObjectType
    key: str
    extra_keys: tuple[str, ...]
    ttl_ms: int = field(compare=False)

    def __init__(
        self, object_type: LockedObjectType | str, key: object, *extra_keys: object, ttl_ms: int = 30_000
    ) -> None:
        if isinstance(ttl_ms, bool) or not isinstance(ttl_ms, int) or ttl_ms <= 0:
            raise UsageError(f"{type(self).__name__}: ttl_ms is a positive number of milliseconds, not {ttl_ms!r}")
        fill = object.__setattr__
        fill(self, "object_type", LockedObjectType(object_type))
        fill(self, "key", str(key))
        fill(self, "extra_keys", tuple(str(extra) for extra in extra_keys))
        fill(self, "ttl_ms", ttl_ms)

    @property
    def lock_key(self) -> str:
        """The lock's name for people: kind, object type and keys."""
        return ":".join((self.kind, self.object_type, self.key, *self.extra_keys))

    @property
    def bucket_key(self) -> str:
        """The lock's key in its bucket."""
        return subject.lock_key(self.object_type, self.key, *self.extra_keys)

    def __lt__(self, other: "BaseLock") -> bool:
        # Tasks that take their locks in this one order cannot wait for each other in a circle.
        return self.bucket_key < other.bucket_key


class BaseLimiter(BaseLock):
    """A lock that bounds a rate or a number; not asked for where a person runs the task by hand."""

    kind = "limiter"


class MutexLock(BaseLock):
    """Held by one task at a time."""

    kind = "mutex"
