"""A synchronous `execute` runs in a thread: all that a coroutine may do it does there by `on_loop`."""

import asyncio
import logging
import os
import threading
import time
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from natsume import BaseTask, CallbackSpawner, HeldLocks, MutexLock, TaskControl, on_loop
from natsume.actors.registry import Registry
from natsume.compose.worker import working
from natsume.control import should_cancel
from natsume.exceptions import CancelHonoured, UsageError
from natsume.model import times
from natsume.model.record import child_id
from natsume.model.task import State
from natsume.runtime import keepalive
from natsume.telemetry import task_fields
from natsume.testing import task_done, until
from natsume.testing.facts import leases

GO = threading.Event()
RUNNING: list[str] = []
SAW: list[str] = []


@pytest.fixture(autouse=True)
def go():
    GO.clear()
    RUNNING.clear()
    SAW.clear()
    yield GO
    GO.set()


@dataclass
class Leaf(BaseTask):
    number: int

    def execute(self) -> int:
        return self.number * 10


class Parent(BaseTask):
    def execute(self, spawn: CallbackSpawner, control: TaskControl) -> list[str]:
        on_loop(control.progress, 1, 2, "half")
        one = on_loop(Leaf(1).schedule, labels={"a": "b"})
        join = on_loop(spawn.spawn_with_callback, [Leaf(2), Leaf(3)], Leaf(4))
        return [one, join]


class Careless(BaseTask):
    def execute(self) -> None:
        Leaf(1).schedule()


class Fields(BaseTask):
    def execute(self) -> list[object]:
        return [threading.current_thread() is threading.main_thread(), task_fields.get()]


class Spins(BaseTask):
    def execute(self) -> None:
        began = time.thread_time()
        while time.thread_time() - began < 0.1:
            pass


class Half(BaseTask):
    def execute(self):
        async def inner() -> None: ...

        return inner()


@dataclass
class Waits(BaseTask):
    """Waits in its thread; stops when it is told, or that it may go."""

    name: str = ""
    asks: bool = True
    timeout_s = 0.2

    @property
    def execution_locks(self):
        return [MutexLock("task", self.name)] if self.name else []

    def execute(self, locks: HeldLocks) -> str:
        RUNNING.append(self.name)
        while not GO.wait(0.005):
            if self.asks and (stop := should_cancel()):
                SAW.append(stop)
                raise CancelHonoured(f"stopped by {stop}")
        if not self.asks:
            try:
                on_loop(asyncio.sleep, 0)
            except asyncio.CancelledError:
                SAW.append("on_loop")
                raise
        return "went"


class Patient(Waits):
    timeout_s = 60.0


@pytest.fixture
def natsume_registry():
    return {f"t:{cls.__name__}": cls for cls in (Leaf, Parent, Careless, Fields, Half, Spins, Waits, Patient)}


async def test_it_schedules_spawns_and_tells_through_the_loop(natsume_client, natsume_worker, natsume_conductor):
    token = await natsume_client.submit(Parent())
    one, join = await natsume_client.result(token)
    assert one == child_id(token, 0)
    assert await until(lambda: natsume_client.result(one)) == 10
    assert await natsume_client.result(child_id(join, "callback")) == 40
    assert (await natsume_client.status(token)).done.progress.message == "half"


async def test_a_call_that_nobody_would_await_is_refused(natsume_client, natsume_worker):
    done = await task_done(natsume_client, await natsume_client.submit(Careless()))
    assert (done.state, done.children) == (State.FAILED, ())
    assert "on_loop(….schedule, …)" in done.failure.message
    done = await task_done(natsume_client, await natsume_client.submit(Half()))
    assert "define it with async def" in done.failure.message
    with pytest.raises(UsageError, match="synchronous"):
        on_loop(asyncio.sleep, 0)


async def test_its_log_lines_have_the_tasks_fields(natsume_client, natsume_worker):
    token = await natsume_client.submit(Fields())
    is_main, fields = await natsume_client.result(token)
    assert not is_main
    assert fields[:2] == [token, "t:Fields"]


async def test_the_processor_time_of_its_thread_is_the_tasks(natsume_client, natsume_worker):
    done = await task_done(natsume_client, await natsume_client.submit(Spins()))
    assert done.used.cpu_s >= 0.1


async def test_as_many_run_at_a_time_as_the_worker_has_slots(natsume_client, natsume_start_worker):
    await natsume_start_worker(concurrency=3)
    tokens = await natsume_client.submit_many([Patient() for _ in range(8)])
    await until(lambda: len(RUNNING) == 3)
    assert len(RUNNING) == 3
    GO.set()
    assert [await natsume_client.result(token) for token in tokens] == ["went"] * 8


async def test_what_asks_stops_at_its_timeout(natsume_client, natsume_worker):
    done = await task_done(natsume_client, await natsume_client.submit(Waits()))
    assert (done.state, done.failure.type) == (State.FAILED, "ResourceLimitExceeded")
    assert SAW == ["timeout"]


async def test_a_thread_that_was_told_keeps_its_lock_until_it_ends_and_has_failed_then(
    natsume_client, natsume_worker, natsume_broker
):
    token = await natsume_client.submit(Waits("x", asks=False))
    run = await until(lambda: next((one for one in natsume_worker.watch.runs.values() if one.interrupted_by), None))
    assert run.has_started
    assert await leases(natsume_broker)
    GO.set()
    done = await task_done(natsume_client, token)
    assert (done.state, done.failure.type) == (State.FAILED, "ResourceLimitExceeded")
    assert SAW == ["on_loop"]


@pytest.mark.natsume_leaves_leases("a thread that cannot be ended keeps its lock until the process has ended")
async def test_a_thread_that_does_not_end_fails_and_ends_the_worker(
    natsume_client, natsume_start_worker, natsume_broker, monkeypatch, caplog
):
    monkeypatch.setattr(times, "THREAD_LINGER_S", 0.1)
    exits: list[int] = []
    ended = threading.Event()

    def exit_process(code: int) -> None:
        exits.append(code)
        ended.wait(5)  # the thread of a process that has ended does nothing more

    monkeypatch.setattr(os, "_exit", exit_process)
    caplog.set_level(logging.CRITICAL)
    worker = await natsume_start_worker()
    token = await natsume_client.submit(Waits("x", asks=False))
    done = await task_done(natsume_client, token)
    assert (done.state, done.failure.type) == (State.FAILED, "ResourceLimitExceeded")
    await until(lambda: exits == [keepalive.BLOCKED_EXIT])
    assert await leases(natsume_broker)
    assert token in caplog.text
    worker.watch.stuck = None
    GO.set()
    ended.set()


async def test_what_is_cancelled_or_shut_down_hears_of_it(natsume_client, natsume_worker):
    token = await natsume_client.submit(Patient("y"), track=True)
    await until(lambda: RUNNING)
    assert await natsume_client.cancel(token)
    done = await task_done(natsume_client, token)
    assert (done.state, done.comment) == (State.CANCELLED, "stopped by cancelled")


@pytest.mark.natsume_leaves_leases("a thread that does not end in time keeps its lock until the process has ended")
async def test_a_shutdown_gives_back_what_does_not_end_and_counts_no_attempt(
    natsume_client, natsume_settings, natsume_registry, natsume_start_worker
):
    registry = Registry.of_classes(natsume_registry)
    async with working(replace(natsume_settings, grace_s=0.0), registry, concurrency=2):
        token = await natsume_client.submit(Patient("", asks=False))
        await until(lambda: RUNNING)
    await natsume_start_worker()
    await until(lambda: len(RUNNING) == 2)
    GO.set()
    assert await natsume_client.result(token) == "went"
    assert (await natsume_client.status(token)).done.attempt == 1
