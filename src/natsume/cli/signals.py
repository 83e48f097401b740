"""SIGTERM and Ctrl-C: the first asks a process to stop, a second Ctrl-C ends it at once."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Final

INTERRUPTED: Final = 130


def stop_on_signals(hurry: Callable[[], None] | None = None) -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets; a second SIGINT ends the process, whatever blocks its loop.

    With `hurry` any second signal calls that instead, in the loop.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = interrupts = 0

    def handle(number: int, _frame: object) -> None:
        nonlocal signals, interrupts
        signals += 1
        interrupts += number == signal.SIGINT
        if hurry is not None and signals > 1:
            loop.call_soon_threadsafe(hurry)
        elif interrupts > 1:
            os._exit(INTERRUPTED)
        loop.call_soon_threadsafe(stop.set)

    # Not the loop's own handlers: those would wait for a task that blocks it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return stop
