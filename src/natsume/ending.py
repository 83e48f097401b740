"""Ends tasks of the event loop that run in the background, also one that loses a cancellation."""

import asyncio
from typing import Any, Final

_AGAIN_S: Final = 15.0
"""Longer than a cancelled task takes to give up a database that is locked: cut off in that, its driver never ends."""


async def end(*tasks: "asyncio.Task[Any]", again_s: float = _AGAIN_S) -> None:
    """Cancel them, again after each `again_s` seconds, until all have ended.

    Once may be too little: in Python 3.11 `asyncio.wait_for`, by which drivers connect, loses a cancellation that
    comes together with its answer. What a task raised stays with it: its result raises it, and where nobody asks
    for that, asyncio logs it.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_s)
