"""Places under rate limiters, many in one request: what is asked while one is under way goes in the next."""

import asyncio
from typing import Final

from natsume.core.gcra import Asked
from natsume.model import limits
from natsume.ports import Limiters

_SMOOTH: Final = 0.3


class Reserving:
    """Gathers what the tasks of one worker ask of each limiter."""

    def __init__(self, limiters: Limiters) -> None:
        self.took_s = 0.0
        """How long a request takes by now."""
        self._limiters = limiters
        self._asked: dict[str, list[tuple[Asked, asyncio.Future[float | None]]]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def reserve(self, key: str, asked: Asked) -> float | None:
        """The time of a place; None where none is near enough; raises BrokerError."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[float | None] = loop.create_future()
        waiting = self._asked.get(key)
        if waiting is None:
            self._asked[key] = [(asked, answer)]
            task = loop.create_task(self._ask(key))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        else:
            waiting.append((asked, answer))
        return await answer

    async def _ask(self, key: str) -> None:
        waiting, loop = self._asked[key], asyncio.get_running_loop()
        while waiting:
            batch = waiting[: limits.RESERVE_BATCH]
            del waiting[: limits.RESERVE_BATCH]
            began = loop.time()
            try:
                given = await self._limiters.reserve(key, [asked for asked, _ in batch])
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who asked
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            self.took_s += (loop.time() - began - self.took_s) * _SMOOTH
            for (_, answer), at in zip(batch, given, strict=True):
                if not answer.done():
                    answer.set_result(at)
        del self._asked[key]
