"""The flags of tasks to be cancelled, in their bucket (port Flags).

A watcher takes each flag from the write itself: one that the bucket refused all the same says what somebody
wants. What it may have missed, and what was freed, it learns from reading the whole bucket now and then.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.publish import ANOTHER_IN_FLIGHT, WRONG_LAST_SEQUENCE, Publisher
from natsume.adapters.nats.request import Request
from natsume.adapters.nats.wire import Wire
from natsume.exceptions import BrokerError, FlagsFull
from natsume.model import limits, subject, times
from natsume.model.told import Flag
from natsume.ports import TakeFlags

BUCKET: Final = "cancel"
_FENCE: Final = b"Nats-Expected-Last-Subject-Sequence: 0\r\nNats-TTL: %ds\r\n" % times.FLAG_TTL_S
_PURGE: Final = f"$JS.API.STREAM.PURGE.KV_{BUCKET}"
_PREFIX: Final = subject.kv(BUCKET, "")
_FULL: Final = 10077
_PAGE: Final = 1000
_UNDECIDED_S: Final = 0.05
_LOOK_AGAIN_S: Final = 4 * times.FLAGS_S
_RETRY_S: Final = 1.0
_NOBODY: Final = "somebody"

_log = logging.getLogger(__name__)


class KvFlags:
    """The flags of the bucket, over one connection."""

    def __init__(self, wire: Wire, publisher: Publisher, request: Request) -> None:
        self._wire = wire
        self._publisher = publisher
        self._request = request
        self._reader = DirectReader(wire, f"KV_{BUCKET}")
        self._watch: asyncio.Task[None] | None = None
        self._since: list[Flag] | None = None

    async def put(self, flag: Flag) -> bool:
        """Set a flag unless one stands; whether this is the one."""
        name = subject.kv(BUCKET, flag.id).encode()
        while True:
            try:
                await self._publisher.publish(name, _FENCE, msgspec.json.encode(flag))
            except BrokerError as error:
                if error.code == WRONG_LAST_SEQUENCE:
                    return (await self.read([flag.id])).get(flag.id) == flag
                if error.code == _FULL:
                    sentence = f"{limits.FLAGS_MAX} tasks are flagged already; start a conductor, which frees the flags"
                    raise FlagsFull(sentence, _FULL) from None
                if error.code != ANOTHER_IN_FLIGHT:
                    raise
                await asyncio.sleep(_UNDECIDED_S)
            else:
                return True

    async def read(self, task_ids: Sequence[str]) -> dict[str, Flag]:
        """The flags that stand among those of these tasks, by id."""
        found: dict[str, Flag] = {}
        for at in range(0, len(task_ids), _PAGE):
            names = [subject.kv(BUCKET, task_id) for task_id in task_ids[at : at + _PAGE]]
            for stored in await self._reader.last(names):
                flag = _flag(stored.subject, stored.body, _is_gone(stored.headers))
                if flag is not None:
                    found[flag.id] = flag
        return found

    async def scan(self) -> AsyncIterator[list[Flag]]:
        """All flags, in pages."""
        sequence = 1
        while page := await self._reader.after(_PREFIX + ">", sequence, _PAGE):
            flags = (_flag(stored.subject, stored.body, _is_gone(stored.headers)) for stored in page)
            yield [flag for flag in flags if flag is not None]
            sequence = page[-1].sequence + 1

    async def free(self, task_ids: Sequence[str]) -> None:
        """Remove the flags of these tasks, which have ended."""
        for task_id in task_ids:
            await self._request(_PURGE, msgspec.json.encode({"filter": subject.kv(BUCKET, task_id)}))

    async def watch(self, take: TakeFlags) -> None:
        """Give `take` all flags, and then each as it comes; all of them anew after a lost connection."""
        assert self._watch is None, "one watch is enough"

        def told(name: bytes, _reply: bytes, body: bytes, headers: bytes | None) -> None:
            flag = _flag(name.decode(), body, b"KV-Operation" in (headers or b""))
            if flag is not None:
                if self._since is not None:
                    self._since.append(flag)
                take([flag], whole=False)

        route = self._wire.listen(_PREFIX + ">", told)
        await self._read_all(take)
        self._watch = asyncio.get_running_loop().create_task(self._follow(take, route))

    def close(self) -> None:
        """Stop watching and reading."""
        if self._watch is not None:
            self._watch.cancel()
        self._reader.close()

    async def _read_all(self, take: TakeFlags) -> None:
        """What the bucket holds, and what came while it was read."""
        since: list[Flag] = []
        self._since = since
        try:
            flags = [flag async for page in self.scan() for flag in page]
        finally:
            self._since = None
        take([*flags, *since], whole=True)

    async def _follow(self, take: TakeFlags, route: int) -> None:
        restored = asyncio.Event()
        self._wire.on_restored.append(restored.set)
        pause_s = _LOOK_AGAIN_S
        try:
            while True:
                try:
                    async with asyncio.timeout(pause_s):
                        await restored.wait()
                except TimeoutError:
                    pass
                restored.clear()
                try:
                    await self._read_all(take)
                    pause_s = _LOOK_AGAIN_S
                except BrokerError as error:
                    _log.warning("the flags could not be read, it is tried again: %s", error)
                    pause_s = _RETRY_S
        finally:
            self._wire.unlisten(route)
            self._wire.on_restored.remove(restored.set)


def _is_gone(headers: dict[str, str]) -> bool:
    return "KV-Operation" in headers


def _flag(name: str, body: bytes, gone: bool) -> Flag | None:
    """A flag as it stands; one that a person put there by hand needs no body."""
    task_id = name.removeprefix(_PREFIX)
    if gone or not subject.is_id(task_id) or len(task_id) > limits.ID_MAX:
        return None
    try:
        flag = msgspec.json.decode(body, type=Flag)
    except msgspec.MsgspecError:
        return Flag(task_id, _NOBODY, 0.0)
    at = flag.at if math.isfinite(flag.at) and 0 <= flag.at < limits.TIME_END else 0.0
    who = flag.who[: limits.LEDGER_NAME_MAX]
    return msgspec.structs.replace(flag, id=task_id, at=at, who=who, why=flag.why[: limits.WHY_MAX])
