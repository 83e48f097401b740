"""How fast batches go through their members: what else runs on the event loop must not wait for 500 of them."""

import asyncio

from natsume.model import limits


class Pace:
    """Lets one batch at a time deal with its members, some at once, so that the event loop turns meanwhile."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._count = 0

    async def __aenter__(self) -> None:
        await self._turn.acquire()

    async def __aexit__(self, *why: object) -> None:
        self._turn.release()

    def step(self) -> bool:
        """Count a member that is dealt with; whether others are to have their turn before the next."""
        self._count += 1
        return self._count % limits.BATCH_STEP == 0
