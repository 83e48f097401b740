"""The broker as a relay sees it (port Outlet)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.kept import RESTORED
from natsume.adapters.nats.old_records import StreamOldRecords
from natsume.adapters.nats.wire import Wire
from natsume.exceptions import Disconnected
from natsume.model.subject import RECORDS

NUDGE: Final = "natsume.outbox"


class StreamOutlet:
    """Asks RECORDS; nudges are plain messages, which nobody may hear."""

    def __init__(
        self, wire: Wire, records: StreamOldRecords, config: DirectReader, stream_info: Callable[..., Awaitable[Any]]
    ) -> None:
        self._wire = wire
        self._config = config
        self._stream_info = stream_info
        self.settled = records.settled

    async def broker(self) -> str:
        """The name of the broker that is there now: another name is another, empty, one."""
        return str((await self._stream_info(RECORDS))["created"])

    async def restored(self) -> bool:
        """Whether a conductor has said that all is there that an earlier one held."""
        return bool(await self._config.last([RESTORED]))

    async def end(self) -> int:
        """The sequence of the last record that is stored."""
        return int((await self._stream_info(RECORDS))["state"]["last_seq"])

    def nudge(self) -> None:
        """Tell all relays to look."""
        with suppress(Disconnected):
            self._wire.send(NUDGE.encode(), b"", b"", b"")

    @contextmanager
    def nudged(self, event: asyncio.Event) -> Iterator[None]:
        """Set the event whenever relays are told to look."""
        route = self._wire.listen(NUDGE, lambda *_: event.set())
        try:
            yield
        finally:
            self._wire.unlisten(route)
