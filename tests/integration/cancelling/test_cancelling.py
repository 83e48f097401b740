"""A cancelled task ends CANCELLED: at once where it waits, unstarted where it is ready, as it will where it runs."""

import asyncio

import msgspec
import pytest

from natsume.actors.registry import Registry
from natsume.adapters.nats.broker import Broker
from natsume.client import Client
from natsume.compose.worker import working
from natsume.exceptions import TaskFailed, UnknownTask, UsageError
from natsume.model.task import Reason, State
from natsume.model.told import Flag
from natsume.settings import Settings
from natsume.testing import task_done, until

from . import actors
from .actors import Deaf, Failing, Family, Interruptible, Locked, Parent, Patient, Quick, Sleepers, Sleepy
from .facts import ANNA, is_cancelled, no_flag

LATER_S = 3600.0


async def schedules(broker: Broker, token: str) -> int:
    return len((await broker.waiting.hops([token])).get(token, []))


async def test_what_waits_for_its_time_ends_at_once_without_a_worker(
    natsume_client: Client, natsume_broker: Broker
) -> None:
    token = await natsume_client.submit(Quick(), delay=LATER_S)
    assert await natsume_client.cancel(token, why="too late", as_user=ANNA)
    status = await natsume_client.status(token)
    assert status.done is not None
    is_cancelled(status.done, "too late")
    assert (status.attempts, status.started_at) == (0, None)
    assert await schedules(natsume_broker, token) == 0
    with pytest.raises(TaskFailed, match="CANCELLED"):
        await natsume_client.result(token)


async def test_a_flag_is_set_once_and_not_on_what_has_ended(natsume_client: Client, natsume_worker: object) -> None:
    token = await natsume_client.submit(Deaf(), track=True)
    await until(lambda: actors.RAN == ["deaf"])
    assert [await natsume_client.cancel(token) for _ in range(3)] == [True, False, False]
    actors.GO.set()
    assert (await task_done(natsume_client, token)).state is State.COMPLETED
    assert not await natsume_client.cancel(token)
    with pytest.raises(UnknownTask):
        await natsume_client.cancel("nobody")
    with pytest.raises(UsageError, match="why"):
        await natsume_client.cancel(token, why="x" * 501)


async def test_what_is_ready_is_ended_by_the_worker_that_gets_it(natsume_client: Client, natsume_start_worker) -> None:
    flagged = [await natsume_client.submit(Quick(f"{n}"), track=True) for n in range(20)]
    other = await natsume_client.submit(Quick("other"), track=True)
    assert all([await natsume_client.cancel(token, as_user=ANNA) for token in flagged])
    await natsume_start_worker()
    await task_done(natsume_client, other)
    for token in flagged:
        is_cancelled(await task_done(natsume_client, token))
    assert actors.RAN == ["other"]


async def test_what_runs_sees_it_at_once_and_ends_with_its_comment(
    natsume_client: Client, natsume_worker: object, natsume_conductor: None, natsume_broker: Broker
) -> None:
    token = await natsume_client.submit(Patient(), track=True)
    await until(lambda: actors.RAN == ["patient"])
    await natsume_client.cancel(token, as_user=ANNA)
    done = await task_done(natsume_client, token)
    is_cancelled(done)
    assert done.comment == "stopped: cancelled"
    await no_flag(natsume_broker, token)


async def test_what_does_not_ask_completes(
    natsume_client: Client, natsume_worker: object, natsume_conductor: None, natsume_broker: Broker
) -> None:
    token = await natsume_client.submit(Deaf(), track=True)
    await until(lambda: actors.RAN == ["deaf"])
    await natsume_client.cancel(token)
    actors.GO.set()
    done = await task_done(natsume_client, token)
    assert (done.state, done.flagged, await natsume_client.result(token)) == (State.COMPLETED, True, "cancelled")
    await no_flag(natsume_broker, token)


async def test_what_wants_it_is_interrupted(natsume_client: Client, natsume_worker: object) -> None:
    token = await natsume_client.submit(Interruptible(), track=True)
    await until(lambda: actors.RAN == ["interruptible"])
    await natsume_client.cancel(token, as_user=ANNA)
    is_cancelled(await task_done(natsume_client, token))
    assert actors.RAN == ["interruptible", "cleaned up"]


async def test_what_fails_when_it_is_cancelled_is_not_tried_again(natsume_client: Client, natsume_worker) -> None:
    token = await natsume_client.submit(Failing(), track=True)
    await until(lambda: actors.RAN == ["failing"])
    await natsume_client.cancel(token, as_user=ANNA)
    actors.GO.set()
    is_cancelled(await task_done(natsume_client, token))


@pytest.mark.parametrize("task", [Sleepy(), Failing()])
async def test_what_waits_for_its_next_try_ends_at_once(
    natsume_client: Client, natsume_broker: Broker, natsume_worker: object, task: object
) -> None:
    actors.GO.set()
    token = await natsume_client.submit(task, track=True)
    await until(lambda: schedules(natsume_broker, token))
    assert await natsume_client.cancel(token, as_user=ANNA)
    status = await natsume_client.status(token)
    assert status.done is not None
    is_cancelled(status.done)
    assert await schedules(natsume_broker, token) == 0


async def test_what_waits_in_a_locks_line_ends_at_once(
    natsume_client: Client, natsume_broker: Broker, natsume_worker: object
) -> None:
    holder = await natsume_client.submit(Locked("holder"))
    await until(lambda: actors.RAN == ["holder"])
    waiter = await natsume_client.submit(Locked("waiter"))
    await until(lambda: schedules(natsume_broker, waiter))
    assert await natsume_client.cancel(waiter, as_user=ANNA)
    is_cancelled(await task_done(natsume_client, waiter))
    actors.GO.set()
    assert (await task_done(natsume_client, holder)).state is State.COMPLETED
    assert actors.RAN == ["holder"]


async def test_a_shutdown_is_told_from_a_cancel_and_the_task_runs_again(
    natsume_client: Client, natsume_settings: Settings, natsume_start_worker
) -> None:
    async with working(natsume_settings, Registry.of_classes(actors.ACTORS)):
        token = await natsume_client.submit(Patient(), track=True)
        await until(lambda: actors.RAN == ["patient"])
    assert (await natsume_client.status(token)).done is None
    await natsume_start_worker()
    await until(lambda: actors.RAN == ["patient"] * 2)
    actors.GO.set()
    done = await task_done(natsume_client, token)
    assert (done.state, done.attempt) == (State.COMPLETED, 1)


async def test_a_cancelled_member_counts_as_a_failure_and_is_kept(
    natsume_client: Client, natsume_broker: Broker, natsume_worker: object, natsume_conductor: None
) -> None:
    token = await natsume_client.submit(Family(), track=True)
    parent = await task_done(natsume_client, token)
    member = parent.children[0].id
    await until(lambda: schedules(natsume_broker, member))
    await natsume_client.cancel(member, as_user=ANNA)
    done = await task_done(natsume_client, member)
    assert (done.state, done.kind) == (State.CANCELLED, "dead")
    assert done.letter is not None
    assert done.letter.reason is Reason.CANCELLED
    await until(lambda: {"alarm", "callback"} <= set(actors.RAN))


async def test_children_of_a_running_parent_end_with_it_by_cascade(
    natsume_client: Client, natsume_broker: Broker, natsume_worker: object, often: None, natsume_conductor: None
) -> None:
    token = await natsume_client.submit(Parent(), track=True)
    await until(lambda: actors.RAN == ["parent"])
    await natsume_client.cancel(token, cascade=True, as_user=ANNA)
    actors.GO.set()
    parent = await task_done(natsume_client, token)
    assert parent.state is State.COMPLETED
    for child in parent.children:
        is_cancelled(await task_done(natsume_client, child.id))
    assert actors.RAN == ["parent"]
    for done in (parent, *parent.children):
        await no_flag(natsume_broker, done.id)


async def test_descendants_of_what_has_ended_are_cancelled_by_cascade(
    natsume_client: Client, natsume_broker: Broker, natsume_worker: object, natsume_conductor: None
) -> None:
    parent = await task_done(natsume_client, await natsume_client.submit(Family(), track=True))
    sleepy, quick = (child.id for child in parent.children)
    await until(lambda: schedules(natsume_broker, sleepy))
    await task_done(natsume_client, quick)
    assert not await natsume_client.cancel(parent.id, as_user=ANNA)
    assert await natsume_client.cancel(parent.id, cascade=True, as_user=ANNA)
    assert (await task_done(natsume_client, sleepy)).state is State.CANCELLED
    assert not await natsume_client.cancel(parent.id, cascade=True, as_user=ANNA)


async def test_a_conductor_goes_on_where_a_canceller_died(
    natsume_client: Client, natsume_broker: Broker, often: None, natsume_conductor: None
) -> None:
    token = await natsume_client.submit(Quick(), delay=LATER_S)
    assert await natsume_broker.flags.put(Flag(token, "anna", natsume_broker.now()))
    await until(lambda: natsume_client.status(token), lambda status: status.done is not None)
    await no_flag(natsume_broker, token)
    assert await schedules(natsume_broker, token) == 0


async def test_what_is_flagged_while_it_is_parked_ends_once_its_schedule_stands(
    natsume_client: Client, natsume_broker: Broker, natsume_worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canceller looked for a schedule before there was one."""
    arm = type(natsume_broker.outgoing).arm
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(self, task, at):
        reached.set()
        await go_on.wait()
        await arm(self, task, at)

    monkeypatch.setattr(type(natsume_broker.outgoing), "arm", slow)
    token = await natsume_client.submit(Sleepy(), track=True)
    await reached.wait()
    assert await natsume_client.cancel(token, as_user=ANNA)
    assert (await natsume_client.status(token)).done is None
    await until(lambda: any(run.flag for run in natsume_worker.watch.runs.values()))
    go_on.set()
    is_cancelled(await task_done(natsume_client, token))


async def test_descendants_that_are_too_many_for_now_are_flagged_later_and_hold_up_nobody(
    natsume_client: Client, natsume_broker: Broker, natsume_worker: object, often: None, natsume_conductor: None
) -> None:
    config = (await natsume_broker.stream_info("KV_cancel"))["config"] | {"max_msgs": 2}
    await natsume_broker.request("$JS.API.STREAM.UPDATE.KV_cancel", msgspec.json.encode(config))
    token = await natsume_client.submit(Sleepers(5), track=True)
    await until(lambda: actors.RAN == ["sleepers"])
    await natsume_client.cancel(token, cascade=True)
    actors.GO.set()
    parent = await task_done(natsume_client, token)
    ended = [await task_done(natsume_client, child.id) for child in parent.children]
    assert {done.state for done in ended} == {State.CANCELLED}
