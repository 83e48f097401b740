"""The actors of the owners."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from natsume import BaseLock, BaseTask, ExponentialBackoff, MutexLock, NoTransaction, TaskInfo
from natsume_examples.locked import OWNER
from natsume_examples.owners.db import OwnersDB
from natsume_examples.owners.directory import Directory
from natsume_examples.owners.logic import change
from natsume_examples.vo import DEFAULT_VO

_LOCK_TTL_MS = 3_000  # how long an owner stays locked when the worker dies that holds it


@dataclass
class SyncOwnersTask(BaseTask):
    """Copies one owner from the directory."""

    retry_policy = ExponentialBackoff(base_delay_seconds=5, max_retries=3)
    dlq_eligible = True

    owner_name: str
    vo: str = DEFAULT_VO

    @property
    def execution_locks(self) -> list[BaseLock]:
        return [MutexLock(OWNER, self.owner_name, self.vo, ttl_ms=_LOCK_TTL_MS)]

    async def execute(
        self,
        db: OwnersDB,
        directory: Annotated[Directory, NoTransaction()],
        info: TaskInfo,
    ) -> str:
        """Return what was done: created, updated or unchanged."""
        done = await db.sync_of(info.id)
        if done is not None:  # this task ran before, and its worker died before it could say so
            return done
        told = await directory.look_up(self.vo, self.owner_name)
        what = change(await db.owner(self.vo, self.owner_name), told)
        await db.keep(info.id, told, what, datetime.now(UTC))
        return what
