"""What of the bucket `config` outlives the broker: the epoch, what operators set, marks on schedules (port Kept)."""

from collections.abc import Mapping
from typing import Final

from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.publish import WRONG_LAST_SEQUENCE, Publisher
from natsume.adapters.nats.schedules import RAN, RAN_TTL
from natsume.exceptions import BrokerError
from natsume.model import limits
from natsume.model.subject import kv

BUCKET: Final = "config"
_PREFIX: Final = kv(BUCKET, "")
_EPOCH: Final = kv(BUCKET, "epoch")
RESTORED: Final = kv(BUCKET, "restored")
_NAMES: Final = [_EPOCH, *(kv(BUCKET, key) for key in ("tasks", "limits", "strikes", "schedule.*"))]
_FENCE: Final = b"Nats-Expected-Last-Subject-Sequence: %d\r\n"


class KvKept:
    """The keys that conductors copy to the ledger, and put back into a new broker."""

    def __init__(self, publisher: Publisher, reader: DirectReader) -> None:
        self._publisher = publisher
        self._reader = reader

    async def read(self) -> tuple[int | None, dict[str, bytes]]:
        """The epoch, None in a broker that was never met, and what is to be kept, by key."""
        found = {one.subject.removeprefix(_PREFIX): one.body for one in await self._reader.last(_NAMES) if one.body}
        return _number(found.pop("epoch", b"")), found

    async def raise_epoch(self, epoch: int) -> None:
        """Store the epoch, unless a higher one stands."""
        while True:
            found = await self._reader.last([_EPOCH])
            standing = _number(found[0].body) if found else None
            if standing is not None and standing >= epoch:
                return
            fence = _FENCE % (found[0].sequence if found else 0)
            if await self._put(_EPOCH, fence, b"%d" % epoch):
                return

    async def restore(self, values: Mapping[str, bytes]) -> None:
        """Store those that are not there."""
        for key, value in values.items():
            lasts = RAN_TTL if key.startswith(RAN) else b""
            await self._put(kv(BUCKET, key), _FENCE % 0 + lasts, value)

    async def finish(self) -> None:
        """Say that all is there that is to be."""
        await self._put(RESTORED, _FENCE % 0, b"1")

    async def _put(self, name: str, fence: bytes, value: bytes) -> bool:
        try:
            await self._publisher.publish(name.encode(), fence, value)
        except BrokerError as error:
            if error.code != WRONG_LAST_SEQUENCE:
                raise
            return False
        return True


def _number(text: bytes) -> int | None:
    if not text:
        return None
    if not text.isdigit() or len(text) > len(str(limits.EPOCH_MAX)) or int(text) > limits.EPOCH_MAX:
        raise BrokerError(f"the key epoch in the bucket config is {text[:20]!r}, no number up to {limits.EPOCH_MAX}")
    return int(text)
