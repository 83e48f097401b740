"""What a look-up in the directory means for our copy; pure."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Owner:
    """An owner, as the directory tells it and as our table keeps it."""

    vo: str
    name: str
    email: str


class Change(StrEnum):
    """What a synchronisation did."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


def change(known: Owner | None, told: Owner) -> Change:
    """What has to be done for our copy to say what the directory says."""
    if known is None:
        return Change.CREATED
    return Change.UNCHANGED if known == told else Change.UPDATED
