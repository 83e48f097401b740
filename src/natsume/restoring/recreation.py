"""Recreates a broker on purpose: everything in it goes into the ledger, and from there into new streams."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from natsume.adapters.nats import topology
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.emptying import Emptying
from natsume.adapters.sql.remains import SqlEpochs
from natsume.exceptions import NatsumeError
from natsume.model.record import Submitted
from natsume.service.insist import insist

_LEDGER: Final = ("ledger", "ledger-plain")
_LOOK_S: Final = 0.05
_AT_ONCE: Final = 500


class Recreation:
    """Drain, wait for the ledger, delete, apply; what was begun and died is gone on with when it is run again."""

    def __init__(self, broker: Broker, epochs: SqlEpochs, wait_s: float, tell: Callable[[str], None]) -> None:
        """`wait_s` bounds each wait; `tell` gets a line for each step."""
        self._broker = broker
        self._emptying = Emptying(broker)
        self._epochs = epochs
        self._wait_s = wait_s
        self._tell = tell

    async def is_begun(self) -> bool:
        """Whether one died at it, so that it is to be gone on with."""
        return await self._emptying.sealed()

    async def carry_out(self, *, ack_wait_s: float | None = None, replicas: int | None = None) -> int:
        """How many tasks lay there. Raises NatsumeError, and then the lanes go on, unless they were sealed before."""
        kept = await self._emptying.settings()
        if not await self._emptying.sealed():
            await self._drain()
            await self._emptying.seal()
        count = await self._write_down()
        await self._wait("the ledger has not stored all records", lambda: self._emptying.behind(*_LEDGER))
        self._tell("the ledger knows all of them; the streams are made anew")
        # From here on this broker is none that the ledger knows: whoever finds it, in whatever state, rebuilds it.
        await self._epochs.renounce(self._broker.records_created)
        await self._emptying.remove()
        await topology.apply(
            self._broker.request, ack_wait_s=ack_wait_s or kept[0], replicas=replicas if replicas else kept[1]
        )
        await self._broker.refresh()
        return count

    async def _drain(self) -> None:
        """No lane gives out more, what runs ends, and what follows from it is done."""
        self._tell("the lanes are held; what runs may end")
        await self._emptying.hold()
        try:
            await self._wait("tasks still run", self._emptying.running)
            settled = (lambda: self._emptying.behind("reactor", *_LEDGER), self._emptying.undispatched)
            for look in settled:
                await self._wait("conductors have not dealt with all that ended; does one run?", look)
        except BaseException:
            await self._emptying.hold(resume=True)
            raise

    async def _write_down(self) -> int:
        """Each task that lies there gets a submitted record, unless it has one."""
        count, batch = 0, list[Submitted]()
        async for record in self._emptying.tasks():
            batch.append(record)
            count += 1
            if len(batch) == _AT_ONCE:
                await self._record(batch)
                batch = []
        await self._record(batch)
        self._tell(f"{count} tasks wait on the lanes or for their time, and are written down")
        return count

    async def _record(self, batch: list[Submitted]) -> None:
        async def write(record: Submitted) -> None:
            await insist(lambda _: self._broker.outgoing.record(record))

        await asyncio.gather(*map(write, batch))

    async def _wait(self, what: str, look: Callable[[], Awaitable[int]]) -> None:
        deadline = asyncio.get_running_loop().time() + self._wait_s
        while left := await look():
            if asyncio.get_running_loop().time() > deadline:
                raise NatsumeError(f"{what}: {left} are left after {self._wait_s:g} s; nothing is deleted, try again")
            await asyncio.sleep(_LOOK_S)
