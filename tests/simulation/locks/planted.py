"""Bugs planted on purpose in how locks are written: each must break a law, or the laws see nothing."""

from typing import Final

from msgspec.structs import replace

from natsume.adapters.nats.leases import KvLeases
from natsume.core.locking import Place
from natsume.model.lock import Blocked, Holding, Want
from natsume.model.task import Task
from natsume.ports import Lease

from .clock import monotonic


class RenewsWithoutTtl(KvLeases):
    async def renew(self, lease: Lease) -> bool:
        revision = await self._write(lease.want.key, Place(lease.slot, lease.revision), lease.holding, None)
        lease.revision = revision or lease.revision
        return revision is not None


class ReleasesWhatStands(KvLeases):
    async def release(self, lease: Lease) -> None:
        for entry in await self.entries(lease.want.key):
            if entry.slot == lease.slot:
                await self._delete(entry.revision)
        await self.wake(lease.want.key)


class LooksAtNobodyAfterTheDelete(KvLeases):
    async def release(self, lease: Lease) -> None:
        await self._delete(lease.revision)


class LooksNotAgainAfterParking(KvLeases):
    async def park(self, task: Task, blocked: Blocked, until: float) -> None:
        await self._line.park(task, blocked, until)


class FencesTheSlotAlone(KvLeases):
    async def _write(self, key: str, place: Place, holding: Holding, ttl_s: float | None) -> int | None:
        if place.whole:
            standing = [entry.revision for entry in await self.entries(key) if entry.slot == place.slot]
            place = Place(place.slot, standing[0] if standing else 0)
        return await super()._write(key, place, holding, ttl_s)


class FencesNothing(KvLeases):
    async def _write(self, key: str, place: Place, holding: Holding, ttl_s: float | None) -> int | None:
        standing = [entry.revision for entry in await self.entries(key) if entry.slot == place.slot]
        return await super()._write(key, Place(place.slot, standing[0] if standing else 0), holding, ttl_s)


class TokensOfAClock(KvLeases):
    async def acquire(self, want: Want, holding: Holding, *, waited: bool = False) -> Lease | Blocked:
        lease = await super().acquire(want, holding, waited=waited)
        return replace(lease, token=int(1_000_000 * monotonic())) if isinstance(lease, Lease) else lease


BUGS: Final = (
    RenewsWithoutTtl,
    ReleasesWhatStands,
    LooksAtNobodyAfterTheDelete,
    LooksNotAgainAfterParking,
    FencesTheSlotAlone,
    FencesNothing,
    TokensOfAClock,
)
