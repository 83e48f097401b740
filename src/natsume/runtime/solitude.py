"""Who is to be alone in a worker, one after the other."""

import asyncio
from collections import deque


class Solitude:
    """Those in slots that wait to be alone, and the one that is; while there is any, nothing else starts."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[object, asyncio.Future[None]]] = deque()
        self._alone: object = None
        self._loop = asyncio.get_running_loop()

    @property
    def reigns(self) -> bool:
        """Whether somebody is alone, or waits to be."""
        return bool(self._waiting) or self._alone is not None

    @property
    def reached(self) -> bool:
        """Whether somebody is alone."""
        return self._alone is not None

    def ask(self, occupant: object) -> asyncio.Future[None]:
        """Queue for it; done once it is there."""
        turn = self._loop.create_future()
        self._waiting.append((occupant, turn))
        return turn

    def grant(self, running: int) -> None:
        """Give it to the first, if all `running` wait for it."""
        if self._waiting and self._alone is None and running == len(self._waiting):
            self._alone, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)

    def ended(self, occupant: object) -> None:
        """Learn that an occupant has left its slot."""
        if self._alone is occupant:
            self._alone = None

    def close(self) -> None:
        """Give it to nobody more."""
        for _, turn in self._waiting:
            turn.cancel()
        self._waiting.clear()
