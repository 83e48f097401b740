"""A process that takes locks, and what it is to break a law."""

from collections.abc import Coroutine
from typing import Any

from natsume.model.task import Task
from natsume.ports import Lease

HOLDS = "holds its locks"


class Broken(AssertionError):
    """A law, and how it was broken."""


class Process:
    """A run of a task, or a renewal beside it."""

    def __init__(self, name: str, worker: int, task: Task | None, life: Coroutine[Any, Any, None]) -> None:
        self.name = name
        self.worker = worker
        self.task = task
        self.life = life
        self.at = ""
        self.leases: list[Lease] = []
        self.lost = False
        self.renewed: Process | None = None

    @property
    def holds(self) -> bool:
        return self.at == HOLDS
