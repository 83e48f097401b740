"""What is submitted in unusual ways: before any worker, bare, to nobody, to the wrong lane, without a broker."""

import asyncio
import time

import pytest

from natsume.adapters.nats.publish import Publisher
from natsume.enums import Priority, Size
from natsume.exceptions import NotAcknowledged
from natsume.model import times
from natsume.model.subject import Lane
from natsume.model.task import Reason, State, Task
from natsume.testing import until

from .actors import Nap
from .installation import Installation


@pytest.fixture
def ack_wait_s() -> float:
    return 1.0


@pytest.fixture
def publisher(installation: Installation) -> Publisher:
    """Publishes as `nats pub` does."""
    return installation.broker.publisher


async def test_tasks_that_were_submitted_before_any_worker_run_later(installation: Installation) -> None:
    tokens = await installation.client.submit_many([Nap(number) for number in range(50)])
    await installation.start_worker().ready()
    records = await installation.all_done(tokens)
    print(f"{len(tokens)} submitted before the first worker, {len(records)} done")
    assert installation.journal.starts() == dict.fromkeys(tokens, 1)


async def test_a_bare_publish_without_headers_runs(installation: Installation, publisher: Publisher) -> None:
    await publisher.publish(b"task.normal.small.chaos.Nap", b"", b'{"number": 7}')
    await installation.start_worker().ready()
    (token,) = await until(installation.done_ids)
    assert await installation.client.result(token) == 7
    assert installation.journal.starts() == {token: 1}


async def test_an_unknown_actor_is_offered_again_and_then_dead(
    installation: Installation, publisher: Publisher
) -> None:
    worker = await installation.start_worker().ready()
    began = time.monotonic()
    await publisher.publish(b"task.normal.small.chaos.Nobody", b"ce-id: nobody\r\n", b'{"any": [1]}')
    _, done = (await installation.all_done(["nobody"]))["nobody"]
    took = time.monotonic() - began
    print(f"an unknown actor: dead after {took:.1f} s at an ack_wait of {installation.ack_wait_s:g} s")
    assert done.letter is not None
    assert (done.state, done.letter.reason, done.letter.body) == (
        State.FAILED,
        Reason.UNKNOWN_ACTOR,
        b'{"any": [1]}',
    )
    assert took > 3 * installation.ack_wait_s
    assert worker.alive


async def test_a_task_on_a_wrong_lane_is_moved_and_runs_once(installation: Installation) -> None:
    for _ in range(2):
        await installation.start_worker().ready()
    wrong = Lane(Priority.BACKGROUND, Size.SMALL)
    tasks = [Task(f"moved-{number}", "chaos:UrgentNap", wrong, b'{"number":1}') for number in range(50)]
    await installation.broker.outgoing.submit_many(tasks)
    records = await installation.all_done([task.id for task in tasks])
    print(f"{len(tasks)} on the wrong lane: {installation.journal.starts().total()} starts")
    assert installation.journal.starts() == {task.id: 1 for task in tasks}
    assert {record.lane for _, record in records.values()} == {"realtime.small"}


async def test_without_a_broker_submitting_is_one_clear_error_and_the_same_id_runs_once_later(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "PUBLISH_DEADLINE_S", 1.0)
    await installation.start_worker().ready()
    await asyncio.to_thread(installation.server.kill)
    began = time.monotonic()
    with pytest.raises(NotAcknowledged) as refused:
        await installation.client.submit(Nap(1), id="again")
    took = time.monotonic() - began
    print(f"no broker: after {took:.1f} s, {refused.value}")
    assert took < 30.0
    await asyncio.to_thread(installation.server.start)
    tokens = [await installation.client.submit(Nap(1), id="again") for _ in range(2)]
    await installation.all_done(tokens)
    after = await installation.client.submit(Nap(2))
    await installation.all_done([after])
    assert tokens == ["again", "again"]
    assert installation.journal.starts() == {"again": 1, after: 1}
