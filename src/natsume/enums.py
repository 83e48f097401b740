"""The two axes of a lane: how urgent a task is and how heavy."""

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
