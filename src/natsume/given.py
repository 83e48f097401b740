"""What a worker gives each task that asks for it by bare annotation."""

from collections.abc import Mapping

import msgspec

from natsume.depends import given
from natsume.exceptions import UsageError
from natsume.locks import BaseLock


@given
class TaskInfo(msgspec.Struct, frozen=True):
    """The task that runs here; `attempt` counts from 1, `submitted_at` is in Unix seconds."""

    id: str
    actor: str
    attempt: int
    worker: str
    submitted_at: float | None = None
    owner: str | None = None
    tenant: str | None = None
    parent: str | None = None
    labels: Mapping[str, str] | None = None


@given
class HeldLocks:
    """The locks that this task holds, each with its fencing token.

    A token only grows from holder to holder: a write that says `… WHERE fence < :token` and stores the
    token cannot be undone by an earlier holder that was stopped and woke up after its lease had ended.
    """

    def __init__(self, tokens: Mapping[str, int]) -> None:
        """`tokens` are by the bucket key of the lock."""
        self._tokens = tokens

    def token(self, lock: BaseLock | None = None) -> int:
        """The fencing token of a held lock; without an argument, of the only one."""
        if lock is None and len(self._tokens) == 1:
            return next(iter(self._tokens.values()))
        token = self._tokens.get(lock.bucket_key) if lock is not None else None
        if token is None:
            name = lock.lock_key if lock is not None else "which one of several"
            raise UsageError(f"this task does not hold {name}; name a lock of its execution_locks")
        return token
