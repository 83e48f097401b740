"""Look-ups of many deliveries as one request: what is asked while one is under way goes together."""

import asyncio

from natsume.exceptions import Disconnected, NotAcknowledged
from natsume.model import limits
from natsume.model.record import History
from natsume.ports import Records


class Lookups:
    """Gathers questions to the records and asks them in batches."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._asked: list[tuple[str, int, asyncio.Future[History]]] = []
        self._alone: list[tuple[str, int, asyncio.Future[History]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def look_up(self, task_id: str, attempt: int) -> History:
        """What stands of a task's attempt; raises BrokerError."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[History] = loop.create_future()
        self._asked.append((task_id, attempt, answer))
        if self._asking is None:
            self._asking = loop.create_task(self._ask())
        return await answer

    async def _ask(self) -> None:
        while self._asked or self._alone:
            source, count = (self._alone, 1) if self._alone else (self._asked, limits.LOOK_UP_MAX)
            batch = source[:count]
            del source[:count]
            try:
                found = await self._records.look_up([(task_id, attempt) for task_id, attempt, _ in batch])
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who asked
                if len(batch) > 1 and not isinstance(error, Disconnected | NotAcknowledged):
                    # One record that cannot be read must hold up its own task alone.
                    self._alone[:0] = batch
                    continue
                for _, _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, _, answer), history in zip(batch, found, strict=True):
                if not answer.done():
                    answer.set_result(history)
        self._asking = None
