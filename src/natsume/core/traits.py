"""A task's traits: a few bits for each value that tasks are looked for by, so that an index entry can rule it out.

Whoever looks for a value asks for all of its bits. A task that has the value has them; one that has not may have
them by chance, and is looked at. Traits of what becomes known later are added, and none are taken away.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

BITS: Final = 63
"""As many as a signed integer of a database has without its sign."""

_EACH: Final = 4
PRESENT: Final = ("parent", "root", "join_id", "reason", "worker")
"""What many tasks have none of: for each there is one bit, which says that a task has any."""

_VALUED: Final = ("actor", "owner", "tenant", *PRESENT)


def present(name: str) -> int | None:
    """The bit of all tasks that have any value of this column; None where there is no such bit."""
    return 1 << PRESENT.index(name) if name in PRESENT else None


def trait(name: str, value: str) -> int:
    """The bits of a column's value."""
    return _bits(name, value, len(PRESENT))


def traits(values: dict[str, Any]) -> int:
    """The bits of all values, by column, of a task's row."""
    found = 0
    for name in _VALUED:
        if (value := values.get(name)) is not None:
            found |= trait(name, value) | (present(name) or 0)
    return found


def labelled(name: str, value: str) -> int:
    """The bits of a label, of which a task has few or many: they are kept apart."""
    return _bits(name, value, 0)


@lru_cache(maxsize=4096)
def _bits(name: str, value: str, first: int) -> int:
    digest = blake2b(f"{name}={value}".encode(), digest_size=2 * _EACH).digest()
    places = (int.from_bytes(digest[at : at + 2]) for at in range(0, 2 * _EACH, 2))
    found = 0
    for place in places:
        found |= 1 << first + place % (BITS - first)
    return found
