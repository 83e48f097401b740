"""How a batch that failed as a whole is split until the culprit is alone."""

from collections.abc import Sequence
from typing import TypeVar

from msgspec.structs import replace

from natsume.core.effects import Mark

T = TypeVar("T")


def halves(members: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """The members of a batch of two or more in two parts, of which the first may be longer by one."""
    middle = (len(members) + 1) // 2
    return members[:middle], members[middle:]


def half_of(batch: str, place: int, count: int) -> str:
    """The name under which a half of a batch meets again if its worker dies: by place among `count` members."""
    return f"{batch}-{int(place >= (count + 1) // 2)}"


def marked(mark: Mark, half: str) -> Mark:
    """The mark of a start that is not alone: if it has no outcome its batch is split, and nobody is to blame."""
    record = mark.record
    return replace(mark, record=replace(record, crashes=max(0, record.crashes - 1), half=half))
