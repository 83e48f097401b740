from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from natsume import CronSchedule, ExponentialBackoff, IntervalSeconds
from natsume.model.task import Reason, State
from natsume.testing import task_done, until
from natsume_examples.owners.db import OwnersDB
from natsume_examples.owners.directory import Directory
from natsume_examples.owners.logic import Change, Owner, change
from natsume_examples.owners.tasks import KEPT, OwnerCleanupTask, OwnerReportTask, SyncOwnersTask

ALICE = Owner("vo", "alice", "alice@example.org")


async def known(owner: Owner = ALICE, **how: float) -> Owner:
    async with Directory.transaction() as directory:
        await directory.add(owner, **how)
    return owner


async def copy(vo: str = "vo", name: str = "alice") -> Owner | None:
    async with OwnersDB.transaction() as db:
        return await db.owner(vo, name)


def test_what_a_look_up_means():
    moved = replace(ALICE, email="alice@example.com")
    assert change(None, ALICE) is Change.CREATED
    assert change(ALICE, ALICE) is Change.UNCHANGED
    assert change(ALICE, moved) is Change.UPDATED


def test_how_it_is_run():
    assert SyncOwnersTask.retry_policy == ExponentialBackoff(base_delay_seconds=5, max_retries=3)
    assert SyncOwnersTask.dlq_eligible
    here, there = SyncOwnersTask("alice", "vo"), SyncOwnersTask("alice", "other")
    assert here.execution_locks == SyncOwnersTask("alice", "vo").execution_locks != there.execution_locks


async def test_an_owner_is_copied_for_its_vo(natsume_client, natsume_worker):
    await known()
    first = await natsume_client.submit(SyncOwnersTask("alice", "vo"))
    assert await natsume_client.result(first) == "created"
    assert await copy() == ALICE
    assert await copy("other") is None
    second = await natsume_client.submit(SyncOwnersTask("alice", "vo"))
    assert await natsume_client.result(second) == "unchanged"


async def test_a_second_run_of_a_task_does_nothing(natsume_client, natsume_worker):
    """As after a crash between the database's commit and the done record: the same task runs again."""
    async with OwnersDB.transaction() as db:
        await db.keep("the-task", ALICE, Change.CREATED, datetime.now(UTC))
    await natsume_client.submit(SyncOwnersTask("alice", "vo"), id="the-task")
    assert await natsume_client.result("the-task") == "created"


async def test_an_unknown_owner_is_a_dead_letter_at_once(natsume_client, natsume_worker):
    done = await task_done(natsume_client, await natsume_client.submit(SyncOwnersTask("nobody", "vo")))
    assert (done.state, done.attempt, done.letter.reason) == (State.FAILED, 1, Reason.UNRETRYABLE)
    assert "knows no owner 'nobody' of 'vo'" in done.failure.message


async def test_an_outage_is_retried_after_the_base_delay(natsume_client, natsume_worker):
    await known(outages=1)
    token = await natsume_client.submit(SyncOwnersTask("alice", "vo"))
    status = await until(lambda: natsume_client.status(token), lambda status: status.failures)
    failure = status.failures[0]
    assert failure.failure.type == "DirectoryDown"
    assert failure.next_at - failure.failed_at == pytest.approx(5.0, abs=0.2)
    assert await copy() is None


async def test_what_old_tasks_did_is_forgotten_and_the_last_day_reported(natsume_client, natsume_worker):
    now = datetime.now(UTC)
    async with OwnersDB.transaction() as db:
        await db.keep("old", ALICE, Change.CREATED, now - KEPT - timedelta(hours=1))
        await db.keep("new", ALICE, Change.UPDATED, now - timedelta(hours=1))
    assert await natsume_client.result(await natsume_client.submit(OwnerCleanupTask())) == 1
    async with OwnersDB.transaction() as db:
        assert [await db.sync_of(task_id) for task_id in ("old", "new")] == [None, Change.UPDATED]
    report = await natsume_client.result(await natsume_client.submit(OwnerReportTask("vo")))
    assert report == {"created": 0, "updated": 1, "unchanged": 0}
    other = await natsume_client.result(await natsume_client.submit(OwnerReportTask("other")))
    assert other == {"created": 0, "updated": 0, "unchanged": 0}


def test_when_they_run():
    assert OwnerCleanupTask.default_schedule == IntervalSeconds(3600)
    assert OwnerReportTask.default_schedule == CronSchedule("0 6 * * *")
