"""The quotas of rate limiters in their bucket, each changed by compare-and-set (port Limiters)."""

import asyncio
import math
from collections.abc import Callable, Sequence
from random import random
from typing import Final

import msgspec

from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.publish import ANOTHER_IN_FLIGHT, WRONG_LAST_SEQUENCE, Publisher
from natsume.core import gcra
from natsume.core.gcra import Asked, Quota
from natsume.exceptions import BrokerError
from natsume.model.subject import kv

BUCKET: Final = "limiters"
_HEAD: Final = b"Nats-Expected-Last-Subject-Sequence: %d\r\nNats-TTL: %ds\r\n"
_TRIES: Final = 50
_PAUSE_S: Final = 0.005
_KNOWN_MAX: Final = 1024
_quota = msgspec.json.Decoder(Quota)


class KvLimiters:
    """One entry a limiter; it ends by itself when it says nothing any more."""

    def __init__(self, publisher: Publisher, reader: DirectReader, now: Callable[[], float]) -> None:
        """`now` is the broker's clock."""
        self._publisher = publisher
        self._reader = reader
        self._now = now
        self._known: dict[str, tuple[Quota, int]] = {}

    async def reserve(self, key: str, asked: Sequence[Asked]) -> list[float | None]:
        """A time for each, in order; None where none is near enough."""
        # What this worker wrote last is tried first: where no other uses the limiter, nothing is read.
        quota, revision = self._known.pop(key, (Quota(), 0))
        for count in range(_TRIES):
            now = self._now()
            given, left = gcra.reserve(quota, asked, now)
            if left == quota:
                return given
            written = await self._write(key, left, revision, now)
            if written is not None:
                self._remember(key, left, written)
                return given
            if count:
                await asyncio.sleep(random() * _PAUSE_S * min(count, 8))  # noqa: S311 - to let another worker by
            quota, revision = await self._read(key)
        raise BrokerError(f"the rate limiter {key} is changed by others all the time; it is tried again")

    async def _write(self, key: str, quota: Quota, revision: int, now: float) -> int | None:
        """The revision of what was written; None if the entry is not as it was seen."""
        head = _HEAD % (revision, math.ceil(gcra.left_s(quota, now)) + 1)
        try:
            return await self._publisher.publish(kv(BUCKET, key).encode(), head, msgspec.json.encode(quota))
        except BrokerError as error:
            if error.code not in {WRONG_LAST_SEQUENCE, ANOTHER_IN_FLIGHT}:
                raise
            return None

    async def _read(self, key: str) -> tuple[Quota, int]:
        found = await self._reader.last([kv(BUCKET, key)])
        if not found:
            return Quota(), 0
        if not found[0].body:  # what a `nats kv del` leaves behind
            return Quota(), found[0].sequence
        try:
            return _quota.decode(found[0].body), found[0].sequence
        except msgspec.MsgspecError as error:
            sentence = f"the rate limiter {key} cannot be read; delete it with `nats kv del {BUCKET}`: {error}"
            raise BrokerError(sentence) from None

    def _remember(self, key: str, quota: Quota, revision: int) -> None:
        self._known[key] = (quota, revision)
        if len(self._known) > _KNOWN_MAX:
            del self._known[next(iter(self._known))]
