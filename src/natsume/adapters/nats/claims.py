"""The claims of unique tasks in their bucket (port Claims)."""

import asyncio
import math
from collections.abc import Mapping
from typing import Final

import msgspec

from natsume.adapters.nats.direct import DirectReader, Stored
from natsume.adapters.nats.publish import ANOTHER_IN_FLIGHT, WRONG_LAST_SEQUENCE, Publisher
from natsume.adapters.nats.request import Request
from natsume.exceptions import BrokerError
from natsume.model import subject
from natsume.model.claim import Claim

BUCKET: Final = "unique"
_FENCE: Final = b"Nats-Expected-Last-Subject-Sequence: 0\r\n"
_TTL: Final = b"Nats-TTL: %ds\r\n"
_DELETE: Final = f"$JS.API.STREAM.MSG.DELETE.KV_{BUCKET}"
_UNDECIDED_S: Final = 0.05


class KvClaims:
    """The claims of the bucket; a freed one leaves nothing behind."""

    def __init__(self, publisher: Publisher, reader: DirectReader, request: Request) -> None:
        self._publisher = publisher
        self._reader = reader
        self._request = request

    async def create(self, key: str, claim: Claim) -> bool:
        """Store a claim unless one stands."""
        headers = _FENCE if claim.period_s is None else _FENCE + _TTL % math.ceil(claim.period_s)
        while True:
            try:
                await self._publisher.publish(subject.kv(BUCKET, key).encode(), headers, msgspec.json.encode(claim))
            except BrokerError as error:
                if error.code == WRONG_LAST_SEQUENCE:
                    return False
                if error.code != ANOTHER_IN_FLIGHT:
                    raise
                await asyncio.sleep(_UNDECIDED_S)
            else:
                return True

    async def read(self, key: str) -> tuple[Claim, int] | None:
        """The claim that stands, and its revision."""
        found = await self._reader.last([subject.kv(BUCKET, key)])
        return (_claim(found[0]), found[0].sequence) if found else None

    async def free(self, key: str, revision: int) -> None:
        """Remove the very claim that was read; does nothing if it is gone."""
        del key  # a sequence of the bucket's stream names one claim
        await self._request(_DELETE, b'{"seq":%d,"no_erase":true}' % revision)

    async def free_ended(self, holders: Mapping[str, str]) -> None:
        """Remove the claims under these keys that these tasks hold."""
        for stored in await self._reader.last([subject.kv(BUCKET, key) for key in holders]):
            key = stored.subject.removeprefix(subject.kv(BUCKET, ""))
            if _claim(stored).id == holders.get(key):
                await self.free(key, stored.sequence)


def _claim(stored: Stored) -> Claim:
    try:
        return msgspec.json.decode(stored.body, type=Claim)
    except msgspec.MsgspecError as error:
        raise BrokerError(f"the claim {stored.subject} cannot be read; delete it with `nats kv del`: {error}") from None
