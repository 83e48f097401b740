"""SIGTERM and Ctrl-C: the first asks a process to stop, a second Ctrl-C ends it at once."""

import asyncio
import os
import signal
from typing import Final

INTERRUPTED: Final = 130


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets; a second SIGINT ends the process, whatever blocks its loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    interrupts = 0

    def handle(number: int, _frame: object) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1:
            os._exit(INTERRUPTED)
        loop.call_soon_threadsafe(stop.set)

    # Not the loop's own handlers: those would wait for a task that blocks it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return stop
