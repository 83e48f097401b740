"""A task in a slot has all that a task has; what kills its process is its own failed attempt."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from natsume import BaseTask, Size
from natsume.actors.registry import Registry
from natsume.adapters.nats.broker import Broker
from natsume.client import Client
from natsume.compose.worker import working
from natsume.exceptions import TaskFailed, UsageError
from natsume.model.config import Applied, SizeConfig, SizesConfig, TasksConfig
from natsume.model.task import Reason, State
from natsume.settings import Settings
from natsume.testing import until

from .actors import ALL, Parent, Threaded, Where, WhereLarge
from .bad_actors import (
    Allocates,
    Garbles,
    Greedy,
    Kills,
    Leaves,
    Sleeps,
    Spins,
    Splits,
    Stays,
    Synchronous,
    Waits,
)


async def test_a_medium_task_runs_in_a_warm_process_that_the_next_one_gets_too(
    natsume_client: Client, natsume_start_worker: Any
) -> None:
    await natsume_start_worker(size="medium", concurrency=1)
    first, second = [await natsume_client.result(await natsume_client.submit(Where())) for _ in range(2)]
    assert first == second != os.getpid()


async def test_each_large_task_has_a_fresh_process(natsume_client: Client, natsume_start_worker: Any) -> None:
    await natsume_start_worker(size="large", concurrency=1)
    first, second = [await natsume_client.result(await natsume_client.submit(WhereLarge())) for _ in range(2)]
    assert len({first, second, os.getpid()}) == 3
    await until(lambda: not psutil.pid_exists(first) and not psutil.pid_exists(second))


async def test_a_slot_gives_its_task_all_that_a_worker_gives(
    natsume_client: Client, natsume_start_worker: Any, natsume_conductor: None
) -> None:
    await natsume_start_worker(size="medium", concurrency=2)
    await natsume_start_worker(size="small")
    token = await natsume_client.submit(Parent(), track=True)
    seen = await natsume_client.result(token)
    assert (seen["id"], seen["attempt"], seen["stop"], seen["given"]) == (token, 1, None, True)
    assert seen["token"] > 0
    assert seen["inner"] > 0
    assert await natsume_client.result(seen["child"]) == 7
    assert await natsume_client.result(seen["now"]) == 8
    status = await natsume_client.status(token)
    assert status.progress is not None
    assert status.progress.message == "half"
    assert [comment.text for comment in status.comments] == ["from a slot"]
    assert status.done is not None
    assert status.done.used is not None
    assert status.done.used.memory_peak_bytes > 5_000_000


@pytest.mark.parametrize(
    ("how", "sentence"), [("segfault", "SIGSEGV (signal 11)"), ("exit", "exited with code 7"), ("kill", "SIGKILL")]
)
async def test_a_process_that_dies_is_a_failed_attempt_of_its_task(
    natsume_client: Client, natsume_start_worker: Any, how: str, sentence: str
) -> None:
    await natsume_start_worker(size="medium", concurrency=1)
    token = await natsume_client.submit(Kills(how))
    assert await natsume_client.result(token) == "second"
    (failed,) = (await natsume_client.status(token)).failures
    assert failed.failure.type == "ProcessDied"
    assert sentence in failed.failure.message


async def _end(client: Client, task: Any) -> Any:
    token = await client.submit(task)
    with pytest.raises(TaskFailed):
        await client.result(token)
    done = (await client.status(token)).done
    assert done is not None
    assert done.state is State.FAILED
    assert done.letter is not None
    assert done.failure is not None
    return done


async def test_limits_are_kept_and_named(natsume_client: Client, natsume_start_worker: Any) -> None:
    await natsume_start_worker(size="medium", concurrency=2)
    memory = await _end(natsume_client, Allocates())
    assert (memory.failure.type, memory.letter.reason) == ("ResourceLimitExceeded", Reason.MEMORY_LIMIT)
    assert "memory_limit_mb of 200 MB" in memory.failure.message
    cpu = await _end(natsume_client, Spins())
    assert (cpu.failure.type, cpu.letter.reason) == ("ResourceLimitExceeded", Reason.CPU_LIMIT)
    assert "cpu_limit_s of 0.5 s" in cpu.failure.message


async def test_what_does_not_end_is_killed(natsume_client: Client, natsume_start_worker: Any) -> None:
    await natsume_start_worker(size="large", concurrency=1)
    done = await _end(natsume_client, Stays())
    assert (done.failure.type, done.letter.reason) == ("ResourceLimitExceeded", Reason.TIME_LIMIT)
    assert "timeout_s of 0.3 s" in done.failure.message


async def test_a_thread_in_a_slot_reaches_its_loop(
    natsume_client: Client, natsume_start_worker: Any, natsume_conductor: None
) -> None:
    await natsume_start_worker(size="medium", concurrency=1)
    await natsume_start_worker(size="small")
    last = await natsume_client.result(await natsume_client.submit(Threaded()))
    assert await natsume_client.result(last) == 8


async def test_processes_that_a_task_leaves_fail_it_and_are_killed(
    natsume_client: Client, natsume_start_worker: Any, tmp_path: Path
) -> None:
    await natsume_start_worker(size="medium", concurrency=1)
    file = tmp_path / "pids"
    done = await _end(natsume_client, Leaves(str(file)))
    assert (done.failure.type, done.letter.reason) == ("ProcessesLeft", Reason.PROCESSES_LEFT)
    pids = [int(line) for line in file.read_text().split()]
    await until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


async def test_a_task_that_blocks_its_loop_hears_that_it_is_cancelled(
    natsume_client: Client, natsume_start_worker: Any, natsume_conductor: None
) -> None:
    worker = await natsume_start_worker(size="large", concurrency=1)
    token = await natsume_client.submit(Waits(), track=True)
    await until(lambda: any(run.running_since for run in worker.watch.runs.values()))
    await natsume_client.cancel(token)
    await until(lambda: natsume_client.status(token), lambda status: status.state is State.CANCELLED)
    status = await natsume_client.status(token)
    assert status.done is not None
    assert status.done.comment == "seen"


async def test_a_synchronous_task_runs_in_a_slot_and_is_killed_when_its_time_is_over(
    natsume_client: Client, natsume_start_worker: Any
) -> None:
    await natsume_start_worker(size="medium", concurrency=1)
    first = await natsume_client.result(await natsume_client.submit(Synchronous()))
    assert first != os.getpid()
    done = await _end(natsume_client, Synchronous(late=True))
    assert (done.failure.type, done.letter.reason) == ("ResourceLimitExceeded", Reason.TIME_LIMIT)
    await until(lambda: not psutil.pid_exists(first))
    assert await natsume_client.result(await natsume_client.submit(Synchronous())) != first


async def test_what_outlasts_the_grace_period_of_its_worker_is_killed_and_runs_again(
    natsume_client: Client, natsume_settings: Settings, tmp_path: Path
) -> None:
    settings = replace(natsume_settings, grace_s=0.2)
    file = tmp_path / "pid"
    async with working(settings, Registry.of_classes(ALL), Size.LARGE, 1):
        token = await natsume_client.submit(Sleeps(str(file)), track=True)
        await until(lambda: file.exists() and file.read_text())
    assert not psutil.pid_exists(int(file.read_text()))
    status = await natsume_client.status(token)
    assert (status.done, status.failures) == (None, ())


async def test_a_size_has_limits_for_those_that_say_nothing(
    natsume_client: Client, natsume_broker: Broker, natsume_start_worker: Any
) -> None:
    config = TasksConfig(sizes=SizesConfig(medium=SizeConfig(memory_limit_mb=150)))
    await natsume_broker.config.put(Applied(config, "ada", 0.0, ""), 0)
    await natsume_start_worker(size="medium", concurrency=1)
    done = await _end(natsume_client, Greedy())
    assert (done.failure.type, done.letter.reason) == ("ResourceLimitExceeded", Reason.MEMORY_LIMIT)
    assert "memory_limit_mb of 150 MB" in done.failure.message


async def test_what_a_task_writes_on_the_line_of_its_slot_is_its_own_failure(
    natsume_client: Client, natsume_start_worker: Any
) -> None:
    await natsume_start_worker(size="medium", concurrency=1)
    done = await _end(natsume_client, Garbles())
    assert done.failure.type == "ProcessDied"
    assert "it sent a frame of" in done.failure.message


async def test_a_fork_that_comes_back_from_its_task_is_not_the_slot(
    natsume_client: Client, natsume_start_worker: Any
) -> None:
    await natsume_start_worker(size="medium", concurrency=1)
    for _ in range(5):
        assert await natsume_client.result(await natsume_client.submit(Splits())) == "itself"
        assert await natsume_client.result(await natsume_client.submit(Where())) > 0


async def test_an_actor_that_no_other_process_can_import_is_refused(natsume_settings: Settings) -> None:
    @dataclass
    class Local(BaseTask):
        size = Size.MEDIUM

        async def execute(self) -> None: ...

    with pytest.raises(UsageError, match="move it to the top of its module"):
        async with working(natsume_settings, Registry.of_classes({"slots:Local": Local}), Size.MEDIUM, 1):
            pass
