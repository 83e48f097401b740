"""What a class says of itself: how urgent its tasks are and how heavy, and how its ticks catch up and overlap."""

from enum import StrEnum


class Priority(StrEnum):
    """How urgent an actor's tasks are; declared from most to least urgent."""

    REALTIME = "realtime"
    NORMAL = "normal"
    BACKGROUND = "background"


class Size(StrEnum):
    """How heavy an actor's tasks are: which pool of workers runs them."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class CatchUp(StrEnum):
    """What becomes of ticks that could not run in time."""

    ONCE = "once"
    """One run stands for all that are due by its start."""
    SKIP = "skip"
    """They are not made up, and one that fires late does not run."""
    ALL = "all"
    """Each runs, if it is not older than the window."""


class Overlap(StrEnum):
    """What becomes of a tick that is due while an earlier one runs."""

    ONE_WAITS = "one_waits"
    """The first that is due waits for the lock, later ones are recorded as skipped."""
    SKIP = "skip"
    """It is recorded as skipped."""
    ALL = "all"
    """It runs as well: the class holds no lock by itself."""
