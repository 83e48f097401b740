"""The actors of the owners."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from natsume import (
    BaseLock,
    BaseTask,
    CronSchedule,
    ExponentialBackoff,
    IntervalSeconds,
    MutexLock,
    NoTransaction,
    PeriodicBaseTask,
    PeriodicVoAwareBaseTask,
    TaskInfo,
)
from natsume_examples.locked import OWNER
from natsume_examples.owners.db import OwnersDB
from natsume_examples.owners.directory import Directory
from natsume_examples.owners.logic import Change, change
from natsume_examples.vo import DEFAULT_VO

KEPT: Final = timedelta(days=30)  # longer than any task may wait for its second run
DAY: Final = timedelta(days=1)
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


@dataclass
class OwnerCleanupTask(PeriodicBaseTask):
    """Forgets, each hour, which tasks made our copies, once none of them can run again."""

    default_schedule = IntervalSeconds(3600)

    async def execute(self, db: OwnersDB) -> int:
        """Return how many were forgotten."""
        return await db.forget_syncs(datetime.now(UTC) - KEPT)


@dataclass
class OwnerReportTask(PeriodicVoAwareBaseTask):
    """Counts, at six each morning, what a VO's synchronisations of the last day did."""

    default_schedule = CronSchedule("0 6 * * *")

    async def execute(self, db: OwnersDB) -> dict[str, int]:
        """Return the counts of all kinds of changes."""
        counts = await db.changes(self.vo, datetime.now(UTC) - DAY)
        return {change.value: counts.get(change, 0) for change in Change}
