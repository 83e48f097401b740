"""Who may have a lock: decided from its entries, and written by compare-and-set.

A permit is a slot of its own, so it is fenced by that slot alone. Readers and the writer exclude each
other: what they write is fenced by the last revision of the whole lock, which any new entry raises. An
entry that ended meanwhile does not raise it, and only makes room.
"""

from collections.abc import Sequence
from zlib import crc32

import msgspec

from natsume.model.limits import READERS_MAX
from natsume.model.lock import Entry, Hold, Holding, Mode, Waiter, Want
from natsume.model.times import REQUEST_S

WRITER = "w"


class Place(msgspec.Struct, frozen=True):
    """Where an entry is to be written, if the last revision there, or of the whole lock, is `expected`."""

    slot: str
    expected: int
    whole: bool = False


class Refused(msgspec.Struct, frozen=True):
    """There is no place now: `behind` is one that is before; `request` where a writer says that it waits."""

    behind: Entry | None
    request: Place | None = None


class Grant(msgspec.Struct, frozen=True):
    """The place that a waiter gets: reserved, so that it is woken, or requested.

    Without a place it has one already, and whoever gave it may have died before waking it.
    """

    waiter: Waiter
    place: Place | None
    hold: Hold = Hold.RESERVED


def first_try(want: Want, task: str) -> Place | None:
    """The place that is free if nobody has the lock, or few do: worth a try before the entries are read."""
    if want.varies:
        return None
    if want.mode is Mode.PERMIT:
        return Place(str(crc32(task.encode()) % want.permits), 0)
    return Place(_slot(want.mode, task), 0, whole=True)


def take(want: Want, entries: Sequence[Entry], asker: Holding) -> Place | Refused:
    """The place that a task may take, or who is before it; `since` of the asker is when it was first refused.

    Of those that need several locks, each with one of them reserved, the one that waits longest takes what is
    reserved for the others: without this they might give way to each other for ever.
    """
    task, holder = asker.task, asker.holder
    over = want.varies and len(entries) > want.permits  # there were more permits
    for entry in entries:
        own = entry.holding
        if own.task == task and (own.holder == holder or own.hold is Hold.RESERVED):
            return Place(entry.slot, entry.revision) if own.hold is Hold.HELD or not over else Refused(_oldest(entries))
    if want.mode is not Mode.SHARED and not over:
        younger = [entry for entry in entries if _gives_way(entry, asker, want.mode)]
        if younger and (want.mode is Mode.PERMIT or len(entries) == 1):
            return Place(younger[0].slot, younger[0].revision, whole=want.mode is Mode.EXCLUSIVE)
    if want.mode is Mode.PERMIT:
        return _take_permit(want, entries)
    if want.mode is Mode.SHARED:
        return _take_shared(entries, task)
    return _take_exclusive(entries, task)


def _gives_way(entry: Entry, asker: Holding, mode: Mode) -> bool:
    own = entry.holding
    same = (entry.slot == WRITER) is (mode is Mode.EXCLUSIVE)
    return same and own.hold is Hold.RESERVED and (asker.since, asker.task) < (own.since, own.task)


def _take_permit(want: Want, entries: Sequence[Entry]) -> Place | Refused:
    slot = _free(want.permits, entries) if len(entries) < want.permits else None
    return Place(slot, 0) if slot is not None else Refused(_oldest(entries))


def _take_shared(entries: Sequence[Entry], task: str) -> Place | Refused:
    writer = _writer(entries)
    slot = _slot(Mode.SHARED, task)
    same = next((entry for entry in entries if entry.slot == slot), None)
    if writer is None and same is None and len(entries) < READERS_MAX:
        return Place(slot, _last(entries), whole=True)
    return Refused(writer or same or _oldest(entries))


def _take_exclusive(entries: Sequence[Entry], task: str) -> Place | Refused:
    writer = _writer(entries)
    if writer is not None and writer.holding.task != task:
        return Refused(writer)
    readers = [entry for entry in entries if entry.slot != WRITER]
    if writer is not None and writer.holding.hold is not Hold.REQUESTED:
        return Refused(writer)
    if not readers:
        return Place(WRITER, _last(entries), whole=True)
    return Refused(_oldest(readers), Place(WRITER, writer.revision if writer is not None else 0))


def handed_over(entry: Entry, mode: Mode, line: Sequence[Waiter]) -> Grant | None:
    """The waiter that gets this very place as its holder leaves it, so that nobody comes between."""
    head = line[0] if line else None
    if head is None or head.mode is not mode or mode is Mode.SHARED:
        return None
    if mode is Mode.PERMIT and int(entry.slot) >= head.permits:
        return None  # there are fewer permits than there were
    return Grant(head, Place(entry.slot, entry.revision))


def grants(entries: Sequence[Entry], line: Sequence[Waiter], now: float, permits: int | None = None) -> list[Grant]:
    """The places that the first of the line get, in their order; nobody overtakes one that gets none.

    `permits` are those that there are now, where the waiters may have asked for another number.
    """
    placed = {entry.holding.task: entry.holding.hold for entry in entries if entry.holding.hold is not Hold.REQUESTED}
    forgotten = [Grant(one, None) for one in line if placed.get(one.task) is Hold.RESERVED]
    line = [one for one in line if one.task not in placed]  # it was read before the entries: who has a place has left
    if forgotten or not line:
        return forgotten
    if line[0].mode is Mode.PERMIT:
        return _grant_permits(entries, line, permits)
    return _grant_reading_and_writing(entries, line, now)


def kept(entries: Sequence[Entry], task: str, *, but: Place | None = None) -> list[Entry]:
    """What is reserved or requested for a task that does not take it; `but` is what it takes."""
    slot = but.slot if but is not None else None
    own = (entry for entry in entries if entry.holding.task == task and entry.slot != slot)
    return [entry for entry in own if entry.holding.hold is not Hold.HELD]


def _grant_permits(entries: Sequence[Entry], line: Sequence[Waiter], permits: int | None) -> list[Grant]:
    used = list(entries)
    given: list[Grant] = []
    for waiter in line:
        most = waiter.permits if permits is None else permits
        slot = _free(most, used) if len(used) < most else None
        if slot is None:
            break
        grant = Grant(waiter, Place(slot, 0))
        given.append(grant)
        used.append(_entry_of(grant))
    return given


def _grant_reading_and_writing(entries: Sequence[Entry], line: Sequence[Waiter], now: float) -> list[Grant]:
    """One at a time: each raises the last revision, and the next is decided on what stands then."""
    writer = _writer(entries)
    head = line[0]
    readers = sum(entry.slot != WRITER for entry in entries)
    place = Place(_slot(head.mode, head.task), _last(entries), whole=True)
    if writer is not None:
        return _grant_beside(writer, readers, line, place, now)
    if head.mode is Mode.EXCLUSIVE:
        return [Grant(head, place, Hold.REQUESTED if readers else Hold.RESERVED)]
    return [Grant(head, place)] if readers < READERS_MAX else []


def _grant_beside(writer: Entry, readers: int, line: Sequence[Waiter], place: Place, now: float) -> list[Grant]:
    """A request is kept up while its writer waits for readers, and kept when they are gone.

    A writer that is not in the line is on its way; only who has waited longer goes before it.
    """
    if writer.holding.hold is not Hold.REQUESTED:
        return []
    asked = next((one for one in line if one.task == writer.holding.task), None)
    if readers:
        fades = writer.ends_at is not None and writer.ends_at - now <= REQUEST_S / 2
        return [Grant(asked, Place(WRITER, writer.revision), Hold.REQUESTED)] if asked and fades else []
    if asked is not None:
        return [Grant(asked, Place(WRITER, place.expected, whole=True))]
    return [Grant(line[0], place)] if line[0].since < writer.holding.since else []


def _entry_of(grant: Grant) -> Entry:
    assert grant.place is not None
    return Entry(grant.place.slot, 0, Holding("", grant.waiter.task, 0.0, hold=grant.hold))


def _slot(mode: Mode, task: str) -> str:
    return WRITER if mode is Mode.EXCLUSIVE else f"r-{task}"


def _free(permits: int, entries: Sequence[Entry]) -> str | None:
    used = {entry.slot for entry in entries}
    return next((str(slot) for slot in range(permits) if str(slot) not in used), None)


def _writer(entries: Sequence[Entry]) -> Entry | None:
    return next((entry for entry in entries if entry.slot == WRITER), None)


def _last(entries: Sequence[Entry]) -> int:
    return max((entry.revision for entry in entries), default=0)


def _oldest(entries: Sequence[Entry]) -> Entry | None:
    return min(entries, key=lambda entry: entry.holding.since, default=None)
