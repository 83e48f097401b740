"""Leases in the bucket `locks`: compare-and-set on a key with a TTL (port Leases).

Each renewal carries TTL and expected revision: an update without a TTL would make a lock immortal.
A release deletes the very revision that is held, so it cannot end another's lease.
"""

import time
from typing import Final

import msgspec

from natsume.adapters.nats.direct import DirectReader, Stored
from natsume.adapters.nats.publish import WRONG_LAST_SEQUENCE, Publisher
from natsume.adapters.nats.request import Request
from natsume.exceptions import BrokerError
from natsume.model.subject import kv
from natsume.ports import Held, Lease

BUCKET: Final = "locks"
_HEADERS: Final = b"Nats-Expected-Last-Subject-Sequence: %d\r\nNats-TTL: %ds\r\n"
_DELETE: Final = f"$JS.API.STREAM.MSG.DELETE.KV_{BUCKET}"
_TRIES: Final = 3


class _Holding(msgspec.Struct):
    holder: str
    task: str
    since: float


class KvLeases:
    """Locks that end by themselves, in a key-value bucket."""

    def __init__(self, publisher: Publisher, reader: DirectReader, request: Request) -> None:
        self._publisher = publisher
        self._reader = reader
        self._request = request

    async def acquire(self, key: str, holder: str, task: str, ttl_s: float) -> Lease | Held:
        """Take a lock if it is free or already this holder's."""
        lease = Lease(key, holder, task, time.time(), ttl_s, 0, 0, 0.0)
        for _ in range(_TRIES):
            if await self._write(lease):
                lease.token = lease.revision
                return lease
            stored = await self.read(key)
            lease.revision = stored.sequence if stored else 0
            if stored is not None and stored.body:
                held = msgspec.json.decode(stored.body, type=_Holding)
                if held.holder != holder:
                    return Held(key, held.holder, held.task, held.since)
        return Held(key, "", "", lease.since)

    async def renew(self, lease: Lease) -> bool:
        """Lengthen a lease in place; False if it is lost."""
        return await self._write(lease)

    async def release(self, lease: Lease) -> None:
        """Give a lock back; does nothing if it is lost."""
        if await self._delete(lease.revision):
            return
        stored = await self.read(lease.key)
        if stored is not None and stored.body:
            held = msgspec.json.decode(stored.body, type=_Holding)
            if held.holder == lease.holder:
                await self._delete(stored.sequence)

    async def read(self, key: str) -> Stored | None:
        """The key's last message, or None."""
        found = await self._reader.last([kv(BUCKET, key)])
        return found[0] if found else None

    async def _write(self, lease: Lease) -> bool:
        body = msgspec.json.encode(_Holding(lease.holder, lease.task, lease.since))
        headers = _HEADERS % (lease.revision, max(1, round(lease.ttl_s)))
        began = time.monotonic()
        try:
            lease.revision = await self._publisher.publish(kv(BUCKET, lease.key).encode(), headers, body)
        except BrokerError as error:
            if error.code != WRONG_LAST_SEQUENCE:
                raise
            return False
        lease.until = began + lease.ttl_s
        return True

    async def _delete(self, revision: int) -> bool:
        answer = await self._request(_DELETE, b'{"seq":%d,"no_erase":true}' % revision)
        return b'"success":true' in answer.replace(b" ", b"")
