"""The actors whose locks the faults meet: each writes to a database under its token, or reads."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from sqlalchemy import Column, Integer, MetaData, String, Table, insert, update

from natsume import (
    BaseTask,
    ExclusiveRWLock,
    HeldLocks,
    MutexLock,
    NoTransaction,
    Semaphore,
    SharedRWLock,
    TaskInfo,
)
from natsume.databases import BaseSQLDB
from natsume.exceptions import Fenced, LockNotAcquired
from natsume.fencing import fenced_write
from natsume.locks import BaseLock
from natsume.retry_policies import RetryPolicyBase

from .actors import note

TABLES = MetaData()
ACCOUNTS = Table("accounts", TABLES, Column("key", String, primary_key=True), Column("fence", Integer, default=0))
WRITES = Table(
    "writes",
    TABLES,
    Column("number", Integer, primary_key=True),
    Column("key", String),
    Column("token", Integer),
    Column("task", String),
)


class BankDB(BaseSQLDB):
    """One row for each lock, and all writes in their order."""

    async def write(self, key: str, token: int, task: str) -> None:
        async with self:
            await fenced_write(self.conn, update(ACCOUNTS).where(ACCOUNTS.c.key == key), ACCOUNTS.c.fence, token)
            await self.conn.execute(insert(WRITES).values(key=key, token=token, task=task))


Bank = Annotated[BankDB, NoTransaction()]


@dataclass
class Teller(BaseTask):
    """Holds a lock for a while and writes; `deaf` that it goes on after it was told to stop, as a zombie does."""

    number: int
    seconds: float = 0.01
    kind: str = "mutex"
    key: str = "x"
    ttl_ms: int = 1000
    deaf: bool = False

    @property
    def execution_locks(self) -> list[BaseLock]:
        kinds = {"mutex": MutexLock, "writer": ExclusiveRWLock, "reader": SharedRWLock}
        if self.kind == "permit":
            return [Semaphore("TASK", self.key, permits=2, ttl_ms=self.ttl_ms)]
        return [kinds[self.kind]("TASK", self.key, ttl_ms=self.ttl_ms)]

    async def execute(self, info: TaskInfo, locks: HeldLocks, db: Bank) -> int:
        note("start", info, self.kind)
        try:
            try:
                await asyncio.sleep(self.seconds)
            except asyncio.CancelledError:
                note("told", info)
                if not self.deaf:
                    raise
            await write(db, self, locks.token(), info)
        finally:
            note("end", info, self.kind)
        return self.number


class SoonAgain(RetryPolicyBase):
    """By the clock that is wrong, which is not the one that `datetime.now` reads here."""

    def schedule_retry(self, attempt: int, exception: BaseException) -> datetime:
        return datetime.fromtimestamp(time.time() + 0.5, UTC)


@dataclass
class InsideTeller(Teller):
    """The same by `async with`."""

    retry_policy = SoonAgain()

    @property
    def execution_locks(self) -> list[BaseLock]:
        return []

    async def execute(self, info: TaskInfo, db: Bank) -> int:
        (lock,) = Teller.execution_locks.fget(self)
        try:
            async with lock as held:
                note("start", info, self.kind)
                try:
                    await asyncio.sleep(self.seconds)
                    await write(db, self, held.token, info)
                finally:
                    note("end", info, self.kind)
        except LockNotAcquired:
            note("refused", info)
            raise
        return self.number


async def write(db: BankDB, task: Teller, token: int, info: TaskInfo) -> None:
    """Write under a token that excludes others; note it when a later holder was there."""
    if task.kind in ("mutex", "writer"):
        writing = asyncio.ensure_future(db.write(f"{task.kind}-{task.key}", token, info.id))
        try:
            await (_whatever_it_is_told(writing) if task.deaf else writing)
        except Fenced:
            note("fenced", info, str(token))
            raise


async def _whatever_it_is_told(writing: asyncio.Future[None]) -> None:
    while not writing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(writing)
    writing.result()


@dataclass
class BlockingTeller(Teller):
    """Does not give way to the event loop between its stop and its write."""

    async def execute(self, info: TaskInfo, locks: HeldLocks, db: Bank) -> int:
        note("start", info, self.kind)
        try:
            time.sleep(self.seconds)
            await write(db, self, locks.token(), info)
        finally:
            note("end", info, self.kind)
        return self.number


ALL = {f"chaos_locks:{actor.__name__}": actor for actor in (Teller, InsideTeller, BlockingTeller)}
