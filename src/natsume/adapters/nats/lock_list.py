"""All locks and their lines, for people who look at them and release one by hand."""

from collections import Counter
from datetime import datetime
from typing import Any, Final

import msgspec

from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.leases import BUCKET, KvLeases, entry_of
from natsume.adapters.nats.line import Line, Parked
from natsume.adapters.nats.publish import Publisher
from natsume.adapters.nats.request import Request
from natsume.core import lock_list
from natsume.exceptions import BrokerError
from natsume.model import subject, times
from natsume.model.lock import Entry, Standing, Waiting
from natsume.model.told import Released

_PAGE: Final = 500
_TRIES: Final = 5
_INFO: Final = "$JS.API.STREAM.INFO."
_DELETE: Final = "$JS.API.STREAM.MSG.DELETE."
_TTL: Final = b"Nats-TTL: %ds\r\n" % times.RELEASED_TTL_S


class LockList:
    """Reads the bucket `locks` and the parked tasks in TASKS."""

    def __init__(
        self,
        publisher: Publisher,
        locks: DirectReader,
        tasks: DirectReader,
        request: Request,
        leases: KvLeases,
        line: Line,
    ) -> None:
        self._publisher = publisher
        self._locks = locks
        self._tasks = tasks
        self._request = request
        self._leases = leases
        self._line = line

    async def standing(self) -> list[Standing]:
        """Every lock that anybody holds or waits for."""
        prefix = subject.kv(BUCKET, "")
        names = await self._subjects(f"KV_{BUCKET}", prefix + ">")
        entries = []
        for at in range(0, len(names), _PAGE):
            for stored in await self._locks.last(names[at : at + _PAGE]):
                entry = entry_of(stored)
                if entry is not None:
                    entries.append((stored.subject.removeprefix(prefix).rpartition(".")[0], entry))
        waiting = Counter(name.split(".")[1] for name in await self._subjects(subject.TASKS, "parked.>"))
        held = {subject.line(key) for key, _ in entries}
        return lock_list.standing(entries, waiting, {one: await self._name(one) for one in waiting if one not in held})

    async def one(self, key: str) -> Standing:
        """One lock, whether anybody holds it or not."""
        entries = tuple(await self._leases.entries(key))
        waiters = await self._subjects(subject.TASKS, subject.parked_filter(key))
        name = next((entry.holding.name for entry in entries if entry.holding.name), "")
        return Standing(key, name or lock_list.key_name(key), entries, len(waiters))

    async def waiting(self, key: str, count: int) -> list[Waiting]:
        """The first of a lock's line, in their order."""
        return [waiting_of(parked) for parked in await self._line.first(key, count)][:count]

    async def release(self, lock: Standing, entry: Entry, released: Released) -> bool:
        """Record a release by hand, end that very holder's lease and wake who is next; False if it had ended.

        The record comes first, so that no lock is ever gone without it.
        """
        task, holder = entry.holding.task, entry.holding.holder
        name = subject.released(entry.revision, task).encode()
        record = await self._publisher.publish(name, _TTL, msgspec.json.encode(released))
        standing: Entry | None = entry
        for _ in range(_TRIES):
            if standing is None or standing.holding.holder != holder or standing.holding.task != task:
                break
            if await self._delete(f"KV_{BUCKET}", standing.revision):
                await self._leases.wake(lock.key)
                return True
            # It was renewed meanwhile, or has ended.
            found = await self._leases.entries(lock.key)
            standing = next((one for one in found if one.slot == entry.slot), None)
        await self._delete(subject.RECORDS, record)
        return False

    async def _name(self, line: str) -> tuple[str, str]:
        """The key and the name of the lock that the first of a line waits for."""
        first = await self._tasks.after(f"parked.{line}.>", 1, 1)
        given = first[0].headers if first else {}
        return given.get("Natsume-Lock-Key", ""), given.get("Natsume-Lock", "")

    async def _subjects(self, stream: str, filter_: str) -> list[str]:
        names: list[str] = []
        while True:
            query = msgspec.json.encode({"subjects_filter": filter_, "offset": len(names)})
            info: dict[str, Any] = msgspec.json.decode(await self._request(_INFO + stream, query))
            if "error" in info:
                raise BrokerError(f"stream {stream}: {info['error']['description']}; run `natsume topology apply`")
            page = info["state"].get("subjects") or {}
            names.extend(page)
            if not page or len(names) >= info.get("total", 0):
                return names

    async def _delete(self, stream: str, sequence: int) -> bool:
        answer = await self._request(_DELETE + stream, b'{"seq":%d,"no_erase":true}' % sequence)
        return b'"success":true' in answer.replace(b" ", b"")


def waiting_of(parked: Parked) -> Waiting:
    """What a parked message tells of itself."""
    stored, waiter = parked.stored, parked.waiter
    tokens = stored.subject.split(".")
    try:
        actor = subject.parse_ready(stored.headers["Nats-Schedule-Target"])[1]
    except (KeyError, IndexError):  # its target is no lane
        actor = None
    until = stored.headers.get("Nats-Schedule", "").removeprefix("@at ")
    return Waiting(
        waiter.task,
        actor or "",
        stored.headers.get("Natsume-Lock", ""),
        waiter.mode.value,
        stored.headers.get("Natsume-Lock-Behind", ""),
        waiter.since,
        tokens[2],
        datetime.fromisoformat(until).timestamp() if until else None,
    )
