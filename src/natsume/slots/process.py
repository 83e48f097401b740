"""A slot: the process in which one task at a time is run, on a loop of its own, until its worker has no more for it."""

import asyncio
import dataclasses
import logging
import math
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from natsume.actors.registry import Actor, Registry
from natsume.core import events as ev
from natsume.core.delivery import Delivery, Rules
from natsume.exceptions import ProcessesLeft
from natsume.model.lock import Holding, Want
from natsume.ports import Lease
from natsume.runtime.execute import Ended
from natsume.runtime.failing import raised
from natsume.runtime.overrides import with_retries
from natsume.runtime.reaching import in_this_loop
from natsume.runtime.run import Run
from natsume.slots import frames
from natsume.slots.channel import Channel
from natsume.slots.leftovers import left_behind
from natsume.slots.proxies import Reaching
from natsume.slots.resources import Resources, cpu_s

_log = logging.getLogger(__name__)

_GONE_EXIT: Final = 3


def live(line: socket.socket, registry: Registry) -> None:
    """Be a slot until the worker closes it."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_live(line, registry))


async def _live(line: socket.socket, registry: Registry) -> None:
    await _Slot(line, registry).live()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - there is none everywhere
    except ImportError:
        return None
    return uvloop.new_event_loop  # type: ignore[no-any-return,unused-ignore]


class _Slot:
    def __init__(self, line: socket.socket, registry: Registry) -> None:
        self._registry = registry
        self._pid = os.getpid()
        self._closed = asyncio.Event()
        self._channel = Channel(line, self._take, self._worker_gone)
        self._reaching = Reaching(registry, self._channel)
        self._resources = Resources()
        self._run: Run | None = None
        self._interrupted = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def live(self) -> None:
        """Run what comes."""
        main = asyncio.current_task()
        assert main is not None
        self._tasks.add(main)
        await self._closed.wait()
        databases = sys.modules.get("natsume.databases")
        if databases is not None:
            await databases.dispose_engines()

    def _worker_gone(self, _why: str | None) -> None:
        os._exit(_GONE_EXIT)  # what it ran will run elsewhere

    def _take(self, body: bytes) -> None:
        frame = frames.to_slot(body)
        match frame:
            case frames.Start():
                self._start(frame)
            case frames.Answer():
                self._reaching.asking.answered(frame)
            case frames.Heed() if self._run is not None:
                self._run.flag, self._run.stopping = frame.flag, frame.stopping
            case frames.Interrupt() if self._run is not None:
                self._interrupted = True
                # If it comes together with the start, that is to begin first.
                asyncio.get_running_loop().call_soon(self._run.interrupt, frame.cause)
            case frames.Close():
                self._closed.set()

    def _start(self, start: frames.Start) -> None:
        run = self._run = _run_of(start, self._actor(start))
        self._interrupted = False
        run.driver = asyncio.get_running_loop().create_task(self._drive(run, start))
        self._tasks.add(run.driver)
        run.driver.add_done_callback(self._tasks.discard)

    async def _drive(self, run: Run, start: frames.Start) -> None:
        assert run.actor is not None
        self._channel.send(frames.Begun(cpu_s()))
        self._resources.begin(run.actor.name, start.limits)
        run.explain = self._resources.explain
        ended = await self._ended(run, start)
        if os.getpid() != self._pid:
            os._exit(_GONE_EXIT)  # a fork that the task made came back from it as well: it is not the slot
        left = left_behind()
        used = self._resources.used
        self._resources.end()
        excess = self._resources.excess(used)
        if isinstance(ended, ev.Returned) and (excess or left):
            error = excess or ProcessesLeft(
                f"{run.actor.name} left {left} running processes behind, which are killed: wait for them in execute()"
            )
            ended = raised(run, run.actor, error, ended.at)
        if isinstance(ended, ev.Returned | ev.Raised | ev.Honoured):
            ended = replace(ended, used=used)
        self._run = None
        spoiled = bool(left) or self._interrupted
        self._channel.send(frames.over(run.nonce, ended, self._resources.resident, spoiled=spoiled))
        for task in asyncio.all_tasks() - self._tasks:
            task.cancel()  # what a task leaves on the loop is not the next one's

    async def _ended(self, run: Run, start: frames.Start) -> Ended:
        """What came of a task, also where its end cannot be told."""
        assert run.actor is not None

        def now() -> float:
            return time.time() + start.ahead_s

        try:
            run.task = run.actor.arguments.decode(start.task.body)
            return await in_this_loop(run, self._reaching.of(now))
        except Exception as error:  # noqa: BLE001 - what its code does here is its failure
            return raised(run, run.actor, error, now())

    def _actor(self, start: frames.Start) -> Actor:
        actor = self._registry.get(start.task.actor)
        assert actor is not None, "the worker has the same actors"
        actor = dataclasses.replace(actor, **msgspec.structs.asdict(start.limits))
        return actor if start.retries is None else with_retries(actor, start.retries)


def _run_of(start: frames.Start, actor: Actor) -> Run:
    run = Run(Delivery(start.task, b"", 0), start.nonce)
    run.rules = Rules(actor.name, actor.lane, worker=start.worker)
    run.actor = actor
    run.flag, run.stopping = start.flag, start.stopping
    nobody = Holding("", start.task.id, 0.0)
    run.leases = [Lease(Want(key, key), "", nobody, token, 0, math.inf) for key, token in start.tokens.items()]
    return run
