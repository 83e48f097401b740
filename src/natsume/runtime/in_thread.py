"""Runs a synchronous `execute` in a thread, and keeps its slot, its delivery and its locks until that has ended."""

import asyncio
from collections.abc import Mapping
from typing import Any

from natsume.actors.registry import Actor
from natsume.model import times
from natsume.runtime.metering import Meter
from natsume.runtime.run import Run
from natsume.threads import Thread


async def in_thread(run: Run, actor: Actor, arguments: Mapping[str, Any], meter: Meter) -> Any:
    """What the thread returns or raises; CancelledError where its time was over, however it ended then.

    One that still runs long after its time makes the run `stuck`: the worker's process is to end. Its locks are
    not given back then, nor at a shutdown that does not wait for it: they end by themselves once it cannot run.
    """
    thread = Thread(run.task.execute, arguments)
    try:
        await thread.wait()
    except asyncio.CancelledError:
        thread.tell()
        try:
            await thread.wait(_left_s(run, actor))
            run.stuck = thread.running
        finally:
            if thread.running:
                run.leases.clear()
        if run.stuck or run.interrupted_by in {None, "timeout"}:
            raise
        _calm()
    finally:
        meter.add(thread.cpu_s)
    return thread.result()


def _left_s(run: Run, actor: Actor) -> float:
    assert run.running_since is not None
    return run.running_since + actor.timeout_s + times.THREAD_LINGER_S - asyncio.get_running_loop().time()


def _calm() -> None:
    """Take back the interruption of one that has ended by itself; its outcome is what it says."""
    driver = asyncio.current_task()
    assert driver is not None
    while driver.cancelling():
        driver.uncancel()
