"""What is to be done so that the schedules in the broker are what they should be, as values.

Who may change what: each entry bears the generation that armed it, the start of that process. A process
replaces and removes only entries of its own or an earlier generation, and only of actors that it knows; what it
removes it marks with its generation, and no earlier one arms it again. So an old worker in a rolling deploy
undoes nothing, and a schedule of an actor that nobody here knows is left alone. A tasks file is everybody's: who
knows a later one than the entry was armed under may change it whatever its generation, for the process that armed
it may be a command, or a conductor that was killed.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from natsume.enums import CatchUp
from natsume.model.limits import TICKS_MADE_UP_MAX
from natsume.model.tick import Entry, Mark, Present, Ran, ScheduleKey
from natsume.model.times import START_TTL_S
from natsume.schedules import parse

_ONCE_MAX_S: Final = START_TTL_S - 3600.0
"""Of an older tick nothing says any more whether it started."""


class Wanted(msgspec.Struct, frozen=True):
    """A schedule that should be there: what is to lie in the broker, and how its missed ticks are made up."""

    entry: Entry
    catch_up: CatchUp = CatchUp.ONCE
    window_s: float = 3600.0


class Put(msgspec.Struct, frozen=True):
    """Store a schedule, if the last one on its subject is still `expected`."""

    entry: Entry
    expected: int = 0


class Remove(msgspec.Struct, frozen=True):
    """Remove a schedule; `mark` is what is then to be kept of it, before it goes."""

    present: Present
    mark: Mark | None = None


Action = Put | Remove


def plan(
    wanted: Mapping[ScheduleKey, Wanted],
    known: Collection[str],
    present: Iterable[Present],
    marks: Mapping[str, Mark],
    generation: float,
    now: datetime,
    configured: float = 0.0,
) -> list[Action]:
    """The actions of a process of this generation that knows these actors; nothing where all is right.

    `configured` is when the tasks file that it knows was applied.
    """
    ours = _Standing(generation, configured)
    lying: dict[ScheduleKey, list[Present]] = {}
    for one in present:
        if one.entry is not None:
            lying.setdefault(one.entry.key, []).append(one)
    actions: list[Action] = []
    for key in sorted(wanted.keys() | lying.keys(), key=lambda key: key.name):
        mark = marks.get(key.id, Mark())
        there = lying.get(key, [])
        if mark.paused_by is not None:
            actions += [Remove(one) for one in there]
        elif key in wanted:
            actions += _kept(wanted[key].entry, there, mark, ours, now)
        elif key.actor in known:
            removed = Mark(removed=generation, configured=configured)
            actions += [Remove(one, removed) for one in there if ours.may_change(one)]
    return actions


class _Standing(msgspec.Struct, frozen=True):
    generation: float
    configured: float

    def may_change(self, present: Present) -> bool:
        entry = present.entry
        return entry is None or self._not_before(entry.generation, entry.configured)

    def may_arm(self, mark: Mark) -> bool:
        return self._not_before(mark.removed, mark.configured)

    def _not_before(self, generation: float, configured: float) -> bool:
        return generation <= self.generation or configured < self.configured


def _kept(entry: Entry, there: list[Present], mark: Mark, ours: _Standing, now: datetime) -> list[Action]:
    same = [one for one in there if one.entry is not None and one.entry.same_as(entry)]
    others = [one for one in there if one not in same]
    if not all(ours.may_change(one) for one in others):
        return []
    if same:
        # Of one-shots of an equal schedule the earliest leads on to the others.
        same.sort(key=lambda one: one.subject)
        return [Remove(one) for one in others + same[1:]]
    if not there and not ours.may_arm(mark):
        return []
    armed = armed_for(msgspec.structs.replace(entry, configured=ours.configured), now)
    if armed is None:
        return [Remove(one) for one in others]
    in_place = [one for one in others if one.subject == armed.subject]
    put = Put(armed, in_place[0].sequence if in_place else 0)
    return [put, *(Remove(one) for one in others if one not in in_place)]


def armed_for(entry: Entry, now: datetime) -> Entry | None:
    """The entry as it is put: what the server cannot repeat is put for its next occurrence, if there is one."""
    schedule = parse(entry.text)
    if schedule.server_text is not None:
        return entry
    due = schedule.next_after(now)
    return None if due is None else msgspec.structs.replace(entry, due=due)


def missed(wanted: Wanted, since: float, ran: Ran | None, now: float) -> list[datetime]:
    """The occurrences between two times that are to be made up, unless the records know them.

    `since` is when the schedule came to lie where it lies, `now` is late enough for the broker to have
    fired what is due.
    """
    schedule = parse(wanted.entry.text)
    until = datetime.fromtimestamp(now, UTC)
    if wanted.catch_up is CatchUp.SKIP:
        return []
    if wanted.catch_up is CatchUp.ONCE:
        due = schedule.previous(until)
        last = max(since, now - _ONCE_MAX_S)
        if due is None or due.timestamp() <= last or (ran is not None and ran.at >= due.timestamp()):
            return []
        return [due]
    after = datetime.fromtimestamp(max(since, now - wanted.window_s), UTC)
    due_times = list(schedule.occurrences(after, until))
    return due_times[-TICKS_MADE_UP_MAX:]
