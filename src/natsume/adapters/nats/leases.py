"""Locks in the bucket `locks`: each entry a lease written by compare-and-set with a TTL (port Leases).

Each renewal carries TTL and expected revision: an update without a TTL would make a lease immortal.
A release hands over or deletes the very revision that is held, so it cannot end another's lease.
"""

import math
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec.structs import replace

from natsume.adapters.nats.direct import DirectReader, Stored
from natsume.adapters.nats.later import Later
from natsume.adapters.nats.line import Line, Parked
from natsume.adapters.nats.publish import WRONG_LAST_SEQUENCE, Publisher
from natsume.adapters.nats.request import Request
from natsume.adapters.nats.strikes import KvStrikes
from natsume.core import locking
from natsume.core.locking import Grant, Place
from natsume.exceptions import BrokerError
from natsume.model import times
from natsume.model.lock import Blocked, Entry, Hold, Holding, Want
from natsume.model.strike import is_strike
from natsume.model.subject import kv
from natsume.model.task import Task
from natsume.ports import Lease

BUCKET: Final = "locks"
TOKENS_PER_EPOCH: Final = 2**40
"""Tokens grow over the revisions of one broker's bucket, and over brokers by their epoch."""

_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence: {}\r\n"
_WHOLE: Final = "Nats-Expected-Last-Subject-Sequence-Subject: {}\r\n"
_DELETE: Final = f"$JS.API.STREAM.MSG.DELETE.KV_{BUCKET}"
_TRIES: Final = 5
_AT_ONCE: Final = 16
_holding = msgspec.json.Decoder(Holding)


class KvLeases:
    """Locks that end by themselves, in a key-value bucket, and their lines in TASKS."""

    def __init__(
        self,
        publisher: Publisher,
        reader: DirectReader,
        request: Request,
        line: Line,
        now: Callable[[], float],
        strikes: KvStrikes | None = None,
        later: Later | None = None,
    ) -> None:
        """`now` is the broker's clock; without `strikes` nobody waits for the end of one, without `later` nobody tries
        again to release a lease."""
        self._publisher = publisher
        self._reader = reader
        self._request = request
        self._line = line
        self._strikes = strikes
        self._now = now
        self._later = later
        self.epoch = 0

    async def acquire(self, want: Want, holding: Holding, *, waited: bool = False) -> Lease | Blocked:
        """Take a place if there is one, or if it is kept for this task, which `waited`, or already this holder's."""
        asker, holding = holding, replace(holding, since=self._now(), name=want.name)
        # Whoever waited has a place reserved; for others it is worth a try before the entries are read.
        place = None if waited else locking.first_try(want, holding.task)
        behind: Entry | None = None
        entries: list[Entry] = []
        for _ in range(_TRIES):
            began = time.monotonic()
            ttl_s = None if want.manual else want.ttl_s
            revision = await self._write(want.key, place, holding, ttl_s) if place is not None else None
            if place is not None and revision is not None:
                if locking.kept(entries, holding.task, but=place):  # two that left woke it, each with its own permit
                    await self.wake(want.key, given_up_by=holding.task)
                elif waited and want.varies:  # there may be more permits now than when it was woken
                    await self.wake(want.key, permits=want.permits)
                until = float("inf") if want.manual else began + want.ttl_s
                return Lease(
                    want, place.slot, holding, self.epoch * TOKENS_PER_EPOCH + revision, revision, until, waited
                )
            entries = await self.entries(want.key)
            choice = locking.take(want, entries, asker)
            if isinstance(choice, Place):
                place = choice
                continue
            behind = choice.behind
            if want.varies:  # what is kept for it is a permit too many
                for entry in locking.kept(entries, holding.task):
                    await self._delete(entry.revision)
            if choice.request is None or await self._ask_for(want, choice.request, asker):
                break
        return await self._blocked(want, behind, asker, waited=waited)

    async def renew(self, lease: Lease) -> bool:
        """Lengthen a lease in place; False if it is lost."""
        began, want = time.monotonic(), lease.want
        place = Place(lease.slot, lease.revision)
        revision = await self._write(want.key, place, lease.holding, None if want.manual else want.ttl_s)
        if revision is None:
            return False
        lease.revision = revision
        if not want.manual:
            lease.until = began + want.ttl_s
        return True

    async def release(self, lease: Lease) -> None:
        """Hand the place to who is next, or give it back; if it is lost, only who is next is looked after.

        Where the broker does not answer this raises BrokerError; it is tried again `later`, until the lease has ended.
        """
        try:
            await self._give_back(lease)
        except BrokerError as error:
            if error.is_transient and self._later is not None:
                what = f"{lease.want.name} cannot be given back, it ends by itself"
                self._later.again(lambda: self._give_back_late(lease), what, lease.until)
            raise

    async def _give_back_late(self, lease: Lease) -> None:
        """As what stands there now: the broker may be another one meanwhile, and the revision another's lease."""
        standing = await self._standing(lease)
        if standing is None:
            await self.wake(lease.want.key, permits=_counted(lease.want))
        else:
            lease.revision = standing.revision
            await self._give_back(lease)

    async def _standing(self, lease: Lease) -> Entry | None:
        """This very lease, and not one that the same run has taken since."""
        found = [one for one in await self.entries(lease.want.key) if one.slot == lease.slot]
        return found[0] if found and found[0].holding == lease.holding else None

    async def _give_back(self, lease: Lease) -> None:
        key = lease.want.key
        entry = await self._hand_over(Entry(lease.slot, lease.revision, lease.holding), lease)
        if entry is None:
            return
        if not await self._delete(entry.revision):
            # A renewal may have been on its way. Whatever stands: an earlier try may have got as far as this.
            standing = await self._standing(lease)
            if standing is not None:
                await self._delete(standing.revision)
        await self.wake(key, permits=_counted(lease.want))

    async def park(self, task: Task, blocked: Blocked, until: float) -> None:
        """Let a task wait in the lock's line, unless its hop does already; it returns by itself then."""
        await self._line.park(task, blocked, until)
        # The lock may have been given back between the refusal and now, by one who saw nobody wait.
        want, asker = blocked.want, Holding("", task.id, task.waiting_since or self._now())
        if self._strikes is not None and is_strike(want.key):
            await self._strikes.wake(want.key)
        elif isinstance(locking.take(want, await self.entries(want.key), asker), Place):
            await self.wake(want.key, permits=_counted(want))

    async def wake(self, key: str, *, given_up_by: str | None = None, permits: int | None = None) -> None:
        """Give the free places of a lock, and what is kept for a task that gives it up, to the first of its line.

        `permits` are those that there are now, where the waiters may have asked for another number.
        """
        if self._strikes is not None and is_strike(key):
            await self._strikes.wake(key)
            return
        if given_up_by is not None:
            for entry in locking.kept(await self.entries(key), given_up_by):
                await self._delete(entry.revision)
        while await self._line.waits(key):
            line = await self._line.first(key, _AT_ONCE)
            entries = await self.entries(key)
            given = locking.grants(entries, [parked.waiter for parked in line], self._now(), permits)
            if not given:
                return
            for grant in given:
                if not await self._give(key, grant, _parked(grant, line)):
                    break  # the lock has changed meanwhile: what stands now decides

    async def entries(self, key: str) -> list[Entry]:
        """Who has a place in a lock."""
        found = await self._reader.last([kv(BUCKET, f"{key}.*")])
        for stored in found:
            if not stored.body:  # left by `nats kv del`: while it lies there, the place is not free for our fences
                await self._delete(stored.sequence)
        return [entry for stored in found if (entry := entry_of(stored))]

    async def _hand_over(self, entry: Entry, lease: Lease) -> Entry | None:
        """Reserve the leaving place for the first of the line and send that; the entry where nobody takes it."""
        key = lease.want.key
        if lease.want.varies or (not lease.waited and not await self._line.waits(key)):
            return entry
        while True:
            line = await self._line.first(key, 1)
            grant = locking.handed_over(entry, lease.want.mode, [parked.waiter for parked in line])
            if grant is None:
                return entry
            revision = await self._reserve(key, grant, _parked(grant, line))
            if revision is None:
                return entry
            if await self._line.send(_parked(grant, line)):
                return None
            # Another has woken that one meanwhile, with another permit: this place is for the next.
            entry = replace(entry, revision=revision)

    async def _give(self, key: str, grant: Grant, parked: Parked) -> bool:
        """Reserve a place and send its waiter to it; False if the place or the line is not as it was seen."""
        revision = 0
        if grant.place is not None:
            reserved = await self._reserve(key, grant, parked)
            if reserved is None:
                return False
            revision = reserved
        if grant.hold is not Hold.RESERVED or await self._line.send(parked):
            return True
        if revision:
            await self._delete(revision)
        return False

    async def _reserve(self, key: str, grant: Grant, parked: Parked) -> int | None:
        assert grant.place is not None
        waiter = grant.waiter
        name = parked.stored.headers.get("Natsume-Lock", "")
        holding = Holding("", waiter.task, waiter.since, name, hold=grant.hold)
        ttl_s = times.RESERVE_S if grant.hold is Hold.RESERVED else times.REQUEST_S
        return await self._write(key, grant.place, holding, ttl_s)

    async def _ask_for(self, want: Want, place: Place, holding: Holding) -> bool:
        asked = replace(holding, holder="", name=want.name, hold=Hold.REQUESTED)
        return await self._write(want.key, place, asked, times.REQUEST_S) is not None

    async def _blocked(self, want: Want, behind: Entry | None, asker: Holding, *, waited: bool) -> Blocked:
        if waited:  # whoever came before it may have returned and parked again
            first = all(one.waiter.since >= asker.since for one in await self._line.first(want.key, 1))
        else:
            first = not await self._line.waits(want.key)
        if behind is None:
            return Blocked(want, ends_at=self._now(), first=first)
        own = behind.holding
        return Blocked(want, own.task, own.holder, own.since, behind.ends_at, first, own.worker)

    async def _write(self, key: str, place: Place, holding: Holding, ttl_s: float | None) -> int | None:
        """The revision of what was written; None if the place is not as it was seen."""
        head = _EXPECTED.format(place.expected)
        if place.whole:
            head += _WHOLE.format(kv(BUCKET, f"{key}.*"))
        if ttl_s is not None:
            head += f"Nats-TTL: {max(1, math.ceil(ttl_s))}s\r\n"
        try:
            name = kv(BUCKET, f"{key}.{place.slot}").encode()
            return await self._publisher.publish(name, head.encode(), msgspec.json.encode(holding))
        except BrokerError as error:
            if error.code != WRONG_LAST_SEQUENCE:
                raise
            return None

    async def _delete(self, revision: int) -> bool:
        answer = await self._request(_DELETE, b'{"seq":%d,"no_erase":true}' % revision)
        return b'"success":true' in answer.replace(b" ", b"")


def _counted(want: Want) -> int | None:
    return want.permits if want.varies else None


def _parked(grant: Grant, line: Sequence[Parked]) -> Parked:
    return next(one for one in line if one.waiter is grant.waiter)


def entry_of(stored: Stored) -> Entry | None:
    """An entry as it is stored; None for what a `nats kv del` leaves behind."""
    if not stored.body:
        return None
    ttl = stored.headers.get("Nats-TTL", "").removesuffix("s")
    ends_at = datetime.fromisoformat(stored.at).timestamp() + int(ttl) if ttl.isdigit() else None
    try:
        holding = _holding.decode(stored.body)
    except msgspec.MsgspecError:  # written by no Natsume: somebody wants the place to be taken
        holding = Holding("?", "", datetime.fromisoformat(stored.at).timestamp())
    return Entry(stored.subject.rpartition(".")[2], stored.sequence, holding, ends_at)
