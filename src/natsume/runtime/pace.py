"""How fast batches go through their members: what else runs on the event loop must not wait for 500 of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from natsume.model import limits

T = TypeVar("T")


class Pace:
    """Lets one batch at a time deal with its members, some at once, so that the event loop turns meanwhile."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._left = limits.BATCH_STEP

    async def __aenter__(self) -> Callable[[Sequence[T]], AsyncIterator[Sequence[T]]]:
        await self._turn.acquire()
        return self._steps

    async def __aexit__(self, *why: object) -> None:
        self._turn.release()

    async def _steps(self, items: Sequence[T]) -> AsyncIterator[Sequence[T]]:
        """The items in order, some at a time; between them others have their turn, whichever batches they are of."""
        start = 0
        while start < len(items):
            if not self._left:
                await asyncio.sleep(0)
                self._left = limits.BATCH_STEP
            some = items[start : start + self._left]
            self._left -= len(some)
            start += len(some)
            yield some
