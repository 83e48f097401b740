"""Measures what a task takes of an event loop that it shares: its time, and the processor time of its own steps."""

import time
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

from natsume.model.record import Used

T = TypeVar("T")


class Meter:
    """One task's meter, from when it is made; other tasks that it starts on the loop are not counted."""

    __slots__ = ("_began", "_cpu_s")

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._cpu_s = 0.0

    @property
    def used(self) -> Used:
        """What was taken until now, to the microsecond."""
        return Used(round(time.monotonic() - self._began, 6), round(self._cpu_s, 6))

    def add(self, cpu_s: float) -> None:
        """Count the processor time that the task took elsewhere."""
        self._cpu_s += cpu_s

    @coroutine
    def of(self, task: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Await a coroutine, and count each of its steps."""
        step, argument = task.send, None
        while True:
            began = time.thread_time()
            try:
                yielded = step(argument)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                self._cpu_s += time.thread_time() - began
            try:
                step, argument = task.send, (yield yielded)
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's, that decides what becomes of it
                step, argument = task.throw, error
