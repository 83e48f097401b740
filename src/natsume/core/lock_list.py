"""The locks as an operator sees them: put together from entries and lines, and one of them chosen by name."""

from collections.abc import Iterable, Mapping
from itertools import groupby

from natsume.core.locking import WRITER
from natsume.exceptions import UsageError
from natsume.model import subject
from natsume.model.lock import Entry, Mode, Standing
from natsume.model.strike import is_strike


def standing(
    entries: Iterable[tuple[str, Entry]], waiting: Mapping[str, int], names: Mapping[str, tuple[str, str]]
) -> list[Standing]:
    """All locks, from their entries by key, and the counts and the locks' keys and names by the token of the line."""
    left, found = dict(waiting), []
    for key, group in groupby(sorted(entries, key=lambda one: (one[0], one[1].slot)), key=lambda one: one[0]):
        own = tuple(entry for _, entry in group)
        name = next((entry.holding.name for entry in own if entry.holding.name), "") or key_name(key)
        found.append(Standing(key, name, own, left.pop(subject.line(key), 0)))
    # Where nobody holds it now, the first of its line tells what it is.
    for line, count in left.items():
        key, name = names.get(line, ("", ""))
        if not is_strike(key):  # no lock: `natsume strikes` lists it
            found.append(Standing(key, name, (), count))
    return found


def mode_of(slot: str) -> Mode:
    """How the holder of this place holds its lock."""
    if slot == WRITER:
        return Mode.EXCLUSIVE
    return Mode.PERMIT if slot.isdigit() else Mode.SHARED


def key_of(text: str) -> str:
    """The key of the lock that a person names, by its key or its name for people."""
    return subject.lock_key(*text.split(":")) if ":" in text else text


def key_name(key: str) -> str:
    """The name for people of the lock with this key; the key itself where it is none of ours."""
    try:
        return subject.lock_name(key)
    except ValueError:
        return key


def chosen(lock: Standing, slot: str | None, holder: str | None) -> Entry:
    """The one entry of a lock that a person means; raises UsageError."""
    own = [
        entry
        for entry in lock.entries
        if slot in {None, entry.slot} and holder in {None, entry.holding.holder, entry.holding.task}
    ]
    if len(own) == 1:
        return own[0]
    if not lock.entries:
        raise UsageError(f"nobody holds {lock.name} now")
    have = ", ".join(f"{entry.slot} (task {entry.holding.task})" for entry in lock.entries)
    if own:
        raise UsageError(f"{lock.name} has {len(lock.entries)} holders; name one by --slot: {have}")
    raise UsageError(f"{lock.name} has no such holder; it has the slots {have}")
