"""What an operator sets, in the `config` bucket: each value read, replaced by compare-and-set, watched."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from natsume.actors.fields import one_line
from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.publish import WRONG_LAST_SEQUENCE, Publisher
from natsume.adapters.nats.wire import Wire
from natsume.exceptions import BrokerError, UsageError
from natsume.model.config import Unreadable
from natsume.model.subject import kv

BUCKET: Final = "config"
_FENCE: Final = b"Nats-Expected-Last-Subject-Sequence: %d\r\n"
_STORED_WITHIN_S: Final = 0.64
_PAUSE_FIRST_S: Final = 0.005
_LOOK_AGAIN_S: Final = 60.0
_RETRY_S: Final = 1.0
_TRIES: Final = 10

T = TypeVar("T")

_log = logging.getLogger(__name__)


class KvValue(Generic[T]):
    """The value of one key, over one connection; `what` is what people call it."""

    def __init__(self, wire: Wire, publisher: Publisher, key: str, kind: type[T], what: str) -> None:
        self._wire = wire
        self._publisher = publisher
        self._name = kv(BUCKET, key)
        self._kind = kind
        self._what = what
        self._reader = DirectReader(wire, f"KV_{BUCKET}")
        self._watch: asyncio.Task[None] | None = None

    async def read(self) -> tuple[T | Unreadable | None, int]:
        """What was applied last and its revision; None where nothing was."""
        found = await self._reader.last([self._name])
        if not found:
            return None, 0
        try:
            return (msgspec.json.decode(found[0].body, type=self._kind) if found[0].body else None), found[0].sequence
        except msgspec.MsgspecError as error:
            return Unreadable(one_line(error), self._what), found[0].sequence

    async def put(self, applied: T, revision: int) -> int | None:
        """Replace the value if the last one's revision is still this; the new revision, or None."""
        try:
            return await self._publisher.publish(self._name.encode(), _FENCE % revision, msgspec.json.encode(applied))
        except BrokerError as error:
            if error.code != WRONG_LAST_SEQUENCE:
                raise
            return None

    async def change(self, changed: Callable[[T | None], T]) -> T:
        """Replace the value by what `changed` makes of it, over others who do so too; raises UsageError."""
        for _ in range(_TRIES):
            standing, revision = await self.read()
            if isinstance(standing, Unreadable):
                raise UsageError(f"{standing}; use the version that wrote it")
            value = changed(standing)
            if value == standing or await self.put(value, revision) is not None:
                return value
        raise UsageError(f"others change the {self._what} all the time; try again")

    async def watch(self, take: Callable[[T | Unreadable | None], None]) -> None:
        """Give `take` what is applied, now and at every change; after a lost connection it looks again.

        Of what cannot be read it hears at the start alone: later, the last that could be read goes on to hold.
        """
        assert self._watch is None, "one watch is enough"
        applied, revision = await self.read()
        if isinstance(applied, Unreadable):
            _log.error("%s; until one is applied that can, the classes' own values hold", applied)
        take(applied)
        self._watch = asyncio.get_running_loop().create_task(self._follow(take, revision))

    def close(self) -> None:
        """Stop watching and reading."""
        if self._watch is not None:
            self._watch.cancel()
        self._reader.close()

    async def _follow(self, take: Callable[[T | Unreadable | None], None], revision: int) -> None:
        changed = asyncio.Event()
        route = self._wire.listen(self._name, lambda *_: changed.set())
        self._wire.on_restored.append(changed.set)
        try:
            while True:
                try:
                    revision = await self._look(take, revision)
                    pause_s = _LOOK_AGAIN_S
                except BrokerError as error:
                    _log.warning("the %s could not be read, it is tried again: %s", self._what, error)
                    pause_s = _RETRY_S
                try:
                    async with asyncio.timeout(pause_s):
                        await changed.wait()
                except TimeoutError:
                    continue
                changed.clear()
        finally:
            self._wire.unlisten(route)
            self._wire.on_restored.remove(changed.set)

    async def _look(self, take: Callable[[T | Unreadable | None], None], known: int) -> int:
        """Read until the revision is another: a subscriber hears of a write before it can be read."""
        pause_s = _PAUSE_FIRST_S
        while True:
            applied, revision = await self.read()
            if revision != known:
                if isinstance(applied, Unreadable):
                    _log.error("%s; what held before goes on to hold", applied)
                else:
                    take(applied)
                return revision
            if pause_s > _STORED_WITHIN_S:
                return known
            await asyncio.sleep(pause_s)
            pause_s *= 2
