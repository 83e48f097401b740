"""`worker --processes`: whatever is killed, no task is lost, each is committed once, no process stays."""

import signal

import psutil
import pytest

from natsume.model.task import State
from natsume.testing import until

from .actors import Nap
from .installation import Installation, WorkerProcess

KILLS = 20
PROCESSES = 2


@pytest.fixture
def ack_wait_s() -> float:
    return 1.0


def children(supervisor: WorkerProcess) -> list[psutil.Process]:
    return psutil.Process(supervisor.pid).children()


async def gone(processes: list[psutil.Process]) -> None:
    await until(lambda: not any(map(psutil.Process.is_running, processes)))


async def test_twenty_kills_of_supervisors_and_workers_lose_nothing(installation: Installation) -> None:
    await installation.witness()

    async def start() -> WorkerProcess:
        return await installation.start_worker(4, PROCESSES).ready("workers ready")

    supervisor, orphans, tokens = await start(), [], []
    for kill in range(KILLS):
        tokens += await installation.client.submit_many([Nap(number, 0.03) for number in range(100)])
        tokens += await installation.client.submit_many([Nap(number, 0.5) for number in range(4)])
        crew = children(supervisor)
        await until(lambda: any(installation.journal.running(one.pid) for one in crew))  # noqa: B023 - awaited here
        if kill % 2:
            crew[kill // 2 % PROCESSES].send_signal(signal.SIGKILL)
            old = {one.pid for one in crew}
            await until(lambda: {one.pid for one in children(supervisor)} - old)  # noqa: B023 - awaited here
        else:
            await supervisor.kill()
            orphans += crew
            supervisor = await start()
    records = await installation.all_done(tokens, within_s=60.0)
    counts = await installation.witnessed(len(tokens))
    starts = installation.journal.starts()
    print(
        f"{KILLS} kills, {len(tokens)} tasks: {len(tokens) - len(records)} lost, {sum(counts.values())} commits, "
        f"{sum(starts.values())} starts"
    )
    assert set(records) == set(tokens)
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert counts == dict.fromkeys(tokens, 1)
    await gone(orphans)
    crew = children(supervisor)
    supervisor.send(signal.SIGTERM)
    assert await supervisor.ended() == 0
    await gone(crew)


async def test_workers_of_a_killed_supervisor_finish_what_they_run(installation: Installation) -> None:
    supervisor = await installation.start_worker(4, PROCESSES).ready("workers ready")
    tokens = await installation.client.submit_many([Nap(number, 1.0) for number in range(4)])
    await until(lambda: len(installation.journal.started()) == 4)
    crew = children(supervisor)
    await supervisor.kill()
    records = await installation.all_done(tokens)
    assert installation.journal.starts() == dict.fromkeys(tokens, 1)
    assert {record.attempt for _, record in records.values()} == {1}
    await gone(crew)


async def test_a_second_signal_hurries(installation: Installation) -> None:
    supervisor = await installation.start_worker(4, PROCESSES).ready("workers ready")
    await installation.client.submit_many([Nap(0, 60.0)])
    await until(installation.journal.started)
    crew = children(supervisor)
    supervisor.send(signal.SIGTERM)
    await until(lambda: "supervisor stopping" in supervisor.said())
    supervisor.send(signal.SIGTERM)
    assert await supervisor.ended() == 130
    await gone(crew)


async def test_what_is_wrong_with_all_is_said_once_and_ends_it(installation: Installation) -> None:
    broken = installation.start_worker(4, PROCESSES, NATSUME_NATS_URL="nats://127.0.0.1:1")
    assert await broken.ended() == 1
    assert broken.said().count("127.0.0.1:1") == 1, broken.said()
