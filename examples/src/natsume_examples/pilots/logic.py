"""Where pilots may go and what may become of them; pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


@dataclass(frozen=True)
class Element:
    """A compute element, as far as one VO may use it: at most `capacity` pilots at a time."""

    vo: str
    name: str
    capacity: int
    success_rate: float = 1.0
    enabled: bool = True


class Status(StrEnum):
    """Where a pilot stands."""

    RESERVED = "reserved"
    SUBMITTED = "submitted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


ACTIVE: Final = (Status.RESERVED, Status.SUBMITTED, Status.RUNNING)

NEXT: Final[Mapping[Status, frozenset[Status]]] = {
    Status.RESERVED: frozenset({Status.SUBMITTED, Status.FAILED}),
    Status.SUBMITTED: frozenset({Status.RUNNING, Status.FAILED}),
    Status.RUNNING: frozenset({Status.DONE, Status.FAILED}),
    Status.DONE: frozenset(),
    Status.FAILED: frozenset(),
}


def may_become(status: Status, following: Status) -> bool:
    """Whether a pilot may go from one status to another."""
    return following in NEXT[status]


def free_slots(element: Element, active: int) -> int:
    """How many more pilots an element takes."""
    return max(0, element.capacity - active) if element.enabled else 0


def available(elements: Iterable[Element], active: Mapping[str, int]) -> dict[str, int]:
    """The elements that take more pilots, with their free slots; `active` counts pilots by element."""
    slots = {element.name: free_slots(element, active.get(element.name, 0)) for element in elements}
    return {name: free for name, free in slots.items() if free}


def accepts(element: Element, draw: float) -> bool:
    """Whether an element takes a submission; `draw` is uniform in [0, 1)."""
    return draw < element.success_rate


def following(element: Element | None, status: Status, draw: float) -> Status:
    """Where a check moves an active pilot, one step; one whose element is gone or has no luck fails at the end.

    One that is only reserved is nobody's any more: its task would have moved it on.
    """
    if status is Status.SUBMITTED:
        return Status.RUNNING
    lucky = element is not None and accepts(element, draw)
    return Status.DONE if status is Status.RUNNING and lucky else Status.FAILED


def summary(statuses: Iterable[Status]) -> dict[str, int]:
    """How many pilots stand where, all statuses included."""
    counts = Counter(statuses)
    return {status.value: counts[status] for status in Status}
