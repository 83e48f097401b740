"""Runs one task in this process, as a person at a terminal wants it: no record, no retry, its locks held."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import typer

from natsume.actors.registry import Actor, Registry
from natsume.base_task import BaseTask
from natsume.binding import bind
from natsume.children import Children
from natsume.cli.on_demand import ByHand, OnDemand
from natsume.control import Stop, TaskControl
from natsume.core.delivery import Delivery
from natsume.depends import CallbackSpawner
from natsume.exceptions import LeaseLost, NatsumeError, ResourceLimitExceeded, UnretryableError
from natsume.given import HeldLocks, TaskInfo
from natsume.locks import BaseLimiter
from natsume.member import Seat, seated
from natsume.model.record import Chunk, Done
from natsume.model.task import State, Task
from natsume.model.told import Progress
from natsume.runtime.execute import encoded
from natsume.settings import Settings
from natsume.threads import Thread


class Raised(NatsumeError):
    """The task failed; its own exception is the cause."""


class Aloud:
    """Tells a person at the terminal what the task says (a Teller); nobody else can cancel it."""

    stop: Stop | None = None

    async def progress(self, progress: Progress) -> None:
        """Print how far it is."""
        total = "" if progress.total is None else f"/{progress.total:g}"
        typer.echo(f"{progress.done:g}{total}  {progress.message}".rstrip(), err=True)

    async def comment(self, text: str) -> None:
        """Print a comment."""
        typer.echo(text, err=True)


class Inline:
    """One task, from its locks to its children."""

    def __init__(self, settings: Settings, registry: Registry, actor: Actor, task: BaseTask) -> None:
        self._settings = settings
        self._actor = actor
        self._task = task
        self._message = Task(os.urandom(16).hex(), actor.name, actor.lane, actor.arguments.encode(task))
        self._run = ByHand(Delivery(self._message, b"", 0, 1), os.urandom(6).hex())
        self._run.actor, self._run.task = actor, task
        self._broker = OnDemand(settings, self._run)
        self._chunks: list[Chunk] = []
        self._control = TaskControl(Aloud())
        self._children = Children(registry, self._message, self._broker.submit, self._keep_chunk, lambda: self._control)

    @property
    def _info(self) -> TaskInfo:
        return TaskInfo(self._message.id, self._actor.name, 1, self._settings.worker)

    @property
    def scheduled(self) -> int:
        """How many children the task has scheduled for its success."""
        return len(self._children.collected) + sum(len(chunk.children) for chunk in self._chunks)

    async def __aenter__(self) -> "Inline":
        return self

    async def __aexit__(self, *why: Any) -> None:
        databases = sys.modules.get("natsume.databases")
        if databases is not None:
            await databases.dispose_engines()
        await self._broker.aclose()

    async def run(self, debugger: str) -> bytes:
        """Run it with its locks; its result as JSON, or Raised from what it raised."""
        locks = self._actor.needs_locks and [one for one in self._task.execution_locks if not _is_limiter(one)]
        async with self._broker.locked(locks or []):
            try:
                result = await self._execute(debugger)
            except asyncio.CancelledError:
                if not self._run.lost:
                    raise
                raise LeaseLost(f"{self._actor.name} was stopped: a lock of it was lost") from None
            except ResourceLimitExceeded as error:
                raise Raised(str(error)) from error
            except Exception as error:
                raise Raised(f"{self._actor.name} raised {type(error).__name__}: {error}") from error
            try:
                return encoded(result, self._actor)
            except UnretryableError as error:
                raise Raised(str(error)) from error

    async def send_children(self) -> None:
        """Submit what the task scheduled; raises BrokerError where none can be reached."""
        if not self.scheduled and not self._children.groups:
            return
        from natsume.core.reaction import tasks_of  # noqa: PLC0415 - few tasks have children

        broker = await self._broker.connected()
        done = self._done(broker.now())
        if not done.groups:
            children = [*(child for chunk in self._chunks for child in chunk.children), *done.children]
            follows = tasks_of(done, children)
            for due in follows:
                if due.place is None:
                    await self._broker.submit(due.task, due.at)
            unique = [due for due in follows if due.place is not None]
            if unique:
                from natsume.connecting import claiming_of  # noqa: PLC0415 - fewer are unique

                await claiming_of(broker, self._settings.worker).submit(unique)
            return
        # A join is opened by a commit alone: this one record is its parent's.
        for number, chunk in enumerate(self._chunks):
            await broker.chunks.write(done.id, done.nonce, number, chunk)
        await broker.records.commit(done)

    async def _execute(self, debugger: str) -> Any:
        loop = asyncio.get_running_loop()
        self._run.driver, self._run.running_since = asyncio.current_task(), loop.time()
        try:
            with bind(self._children, self._broker):
                async with self._actor.plan.open(self._given()) as kwargs, self._in_time(debugger):
                    if self._actor.synchronous:
                        return await self._in_thread(debugger, kwargs)
                    if debugger == "before":
                        breakpoint()  # `step` leads into execute()
                    return await (self._execute_batch if self._actor.batching else self._task.execute)(**kwargs)
        finally:
            self._run.running_since = None

    async def _execute_batch(self, **kwargs: Any) -> None:
        """Run a batching actor for this task alone; the exception that it names for it is raised."""
        seat = Seat(self._info, self._children, self._broker)
        with seated(lambda _task: seat):
            failed = await self._actor.cls.execute_batch([self._task], **kwargs)  # type: ignore[attr-defined]
        for error in (failed or {}).values():
            raise error

    async def _in_thread(self, debugger: str, kwargs: Mapping[str, Any]) -> Any:
        execute = self._task.execute
        thread = Thread(partial(_stopped_before, execute) if debugger == "before" else execute, kwargs)
        try:
            await thread.wait()
        except asyncio.CancelledError:
            thread.tell()  # it ends with this process
            raise
        return thread.result()

    @asynccontextmanager
    async def _in_time(self, debugger: str) -> AsyncIterator[None]:
        """The actor's timeout; a person at a debugger may take as long as they like."""
        limit_s = self._actor.timeout_s if debugger == "none" else None
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(limit_s) as limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            assert limit_s is not None
            ran_s = asyncio.get_running_loop().time() - began
            raise ResourceLimitExceeded(self._actor.name, "timeout_s", limit_s, ran_s) from None

    def _given(self) -> dict[type, Any]:
        return {
            TaskInfo: self._info,
            HeldLocks: HeldLocks({lease.want.key: lease.token for lease in self._run.leases}),
            CallbackSpawner: CallbackSpawner(self._children),
            TaskControl: self._control,
        }

    async def _keep_chunk(self, number: int, chunk: Chunk) -> None:
        assert number == len(self._chunks)
        self._chunks.append(chunk)

    def _done(self, now: float) -> Done:
        return Done(
            self._message.id,
            self._actor.name,
            State.COMPLETED,
            self._run.nonce,
            self._settings.worker,
            1,
            now,
            now,
            lane=str(self._actor.lane),
            children=tuple(self._children.collected),
            chunks=len(self._chunks),
            groups=tuple(self._children.groups),
        )


def _stopped_before(execute: Callable[..., Any], **arguments: Any) -> Any:
    breakpoint()  # `step` leads into execute()
    return execute(**arguments)


def _is_limiter(lock: object) -> bool:
    return isinstance(lock, BaseLimiter)
