"""The strikes in the `config` bucket, and the lines of the tasks that wait for their end."""

import asyncio
from typing import Final

from natsume.adapters.nats.config import KvValue
from natsume.adapters.nats.line import Line, read
from natsume.adapters.nats.publish import Publisher
from natsume.adapters.nats.wire import Wire
from natsume.model.config import Unreadable
from natsume.model.strike import Strike, Strikes

_PAGE: Final = 200


class KvStrikes(KvValue[Strikes]):
    """The strikes of an installation."""

    def __init__(self, wire: Wire, publisher: Publisher, line: Line) -> None:
        super().__init__(wire, publisher, "strikes", Strikes, "list of strikes")
        self._line = line

    async def stands(self, key: str) -> bool:
        """Whether the strike with this key stands; yes where that cannot be read."""
        found, _ = await self.read()
        if found is None:
            return False
        return isinstance(found, Unreadable) or any(strike.key == key for strike in found.strikes)

    async def named(self, name: str) -> Strike | None:
        """The strike of this name that stands, if it can be read."""
        found, _ = await self.read()
        strikes = found.strikes if isinstance(found, Strikes) else ()
        return next((strike for strike in strikes if strike.name == name), None)

    async def wake(self, key: str) -> None:
        """Send all that wait for a strike back to their lanes, unless it stands; may be done again at any point."""
        if await self.stands(key):
            return
        after = 1
        while page := await self._line.page(key, after, _PAGE):
            await asyncio.gather(*map(self._line.send, read(page)))
            after = page[-1].sequence + 1
