"""A synchronous `execute` runs in a thread of its own, and reaches the worker's event loop by `on_loop`.

A thread cannot be stopped, only told: once its task is to stop, `on_loop` raises there.
"""

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent import futures
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from natsume.exceptions import UnretryableError, UsageError

__all__ = ["Thread", "is_synchronous", "needs_loop", "on_loop"]

P = ParamSpec("P")
T = TypeVar("T")


class Thread:
    """A function that runs in a thread, with the context of who made it."""

    def __init__(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._calls: set[futures.Future[Any]] = set()
        self._told = False
        self._result: Any = None
        self._error: BaseException | None = None
        self.cpu_s = 0.0
        context = copy_context()
        context.run(_thread.set, self)
        # Not a pool's: nothing may wait at the process's end for what cannot be stopped.
        run = threading.Thread(
            target=context.run, args=(self._run, function, arguments), name="natsume-execute", daemon=True
        )
        run.start()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.done()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Wait until it ends, for so long at most."""
        await asyncio.wait([self._ended], timeout=timeout_s)

    def result(self) -> Any:
        """What it returned, or raised."""
        if self._error is not None:
            raise self._error
        return self._result

    def tell(self) -> None:
        """Have it stop when it next uses the loop."""
        self._told = True
        for call in list(self._calls):
            call.cancel()

    def call(self, function: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        """Call a coroutine function in the loop, from the thread."""

        async def awaited() -> T:
            return await function(*args, **kwargs)

        if self._told or not self.running:
            raise asyncio.CancelledError("the task is to stop")
        call = asyncio.run_coroutine_threadsafe(awaited(), self._loop)
        self._calls.add(call)
        try:
            if self._told:  # by now: `tell` may have missed this call
                call.cancel()
            return call.result()
        except futures.CancelledError:
            raise asyncio.CancelledError("the task is to stop") from None
        finally:
            self._calls.discard(call)

    def _run(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        try:
            self._result = function(**arguments)
            if inspect.isawaitable(self._result):
                getattr(self._result, "close", bool)()
                raise UnretryableError("its execute() is synchronous and returns a coroutine: define it with async def")
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the task's
            self._error = error
        self.cpu_s = time.thread_time()
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(self._ended.set_result, None)


_thread: ContextVar[Thread | None] = ContextVar("natsume_thread", default=None)


def on_loop(function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a coroutine function from a synchronous `execute`, in the worker's event loop; what it returns.

    `on_loop(child.schedule)` takes a child. Raises asyncio.CancelledError once the task is to stop, and UsageError
    where no synchronous `execute` runs.
    """
    thread = _thread.get()
    if thread is None or _in_loop():
        raise UsageError("on_loop() is for a synchronous execute(): in a coroutine, await the call itself")
    return thread.call(function, *args, **kwargs)


def needs_loop(function: Callable[P, T]) -> Callable[P, T]:
    """Refuse calls of a coroutine function in a thread (as a decorator), where nobody would await what it returns."""

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        if _thread.get() is not None and not _in_loop():
            name = function.__name__
            raise UsageError(f"{name}() is a coroutine, and this execute() is not: write on_loop(….{name}, …)")
        return function(*args, **kwargs)

    return checked


def is_synchronous(function: Callable[..., Any]) -> bool:
    """Whether a method is to run in a thread; one that wraps a coroutine function is not."""
    return not inspect.iscoroutinefunction(inspect.unwrap(function))


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
