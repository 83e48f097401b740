"""What the demo's service submits, and how each task has to end."""

from collections.abc import Iterator
from dataclasses import dataclass

from natsume import BaseTask
from natsume.model.task import State
from natsume_examples.demo.tasks import HurriedSyncOwnersTask
from natsume_examples.owners.logic import Owner
from natsume_examples.owners.tasks import SyncOwnersTask
from natsume_examples.pilots.logic import Element
from natsume_examples.pilots.tasks import MyPilotTask
from natsume_examples.vo import DEFAULT_VO

SLOW_S = 2.5  # longer than the second after which a start is recorded
_COMPLETED, _FAILED = State.COMPLETED, State.FAILED


@dataclass(frozen=True)
class Entry:
    """An owner in the directory, and how the directory behaves when asked for it."""

    name: str
    latency_s: float = 0.02
    outages: int = 0

    @property
    def owner(self) -> Owner:
        return Owner(DEFAULT_VO, self.name, f"{self.name}@example.org")


@dataclass(frozen=True)
class Planned:
    """One task; `expected` is None where luck or the others decide."""

    task: BaseTask
    expected: State | None

    @property
    def label(self) -> str:
        """The task as the log names it."""
        return f"{type(self.task).__name__}({self.task.serialize()[0]})"


@dataclass(frozen=True)
class Plan:
    """The world before the first task, and the tasks in the order of their submission."""

    entries: tuple[Entry, ...]
    elements: tuple[Element, ...]
    tasks: tuple[Planned, ...]


def small_plan(quick: int = 200, slow: int = 12) -> Plan:
    """Quick and slow owners, flaky ones and unknown ones, one much wanted owner, and elements of every kind."""
    slow_ones = [Entry(f"slow-{n}", latency_s=SLOW_S) for n in range(slow)]
    quick_ones = [Entry(f"owner-{n}") for n in range(quick)]
    flaky = [Entry(f"flaky-{n}", outages=1 + n % 2) for n in range(4)]
    down = [Entry(f"down-{n}", outages=99) for n in range(2)]
    wanted = Entry("wanted")
    tasks = [
        *(Planned(SyncOwnersTask(entry.name), _COMPLETED) for entry in slow_ones),
        *(Planned(HurriedSyncOwnersTask(entry.name), _COMPLETED) for entry in flaky),
        *(Planned(HurriedSyncOwnersTask(entry.name), _FAILED) for entry in down),
        *(Planned(SyncOwnersTask("wanted"), _COMPLETED) for _ in range(4)),
        *(Planned(SyncOwnersTask(f"unknown-{n}"), _FAILED) for n in range(3)),
        *_pilots(),
        *(Planned(SyncOwnersTask(entry.name), _COMPLETED) for entry in quick_ones),
    ]
    return Plan((*slow_ones, *quick_ones, *flaky, *down, wanted), _ELEMENTS, tuple(tasks))


_ELEMENTS = (
    *(Element(DEFAULT_VO, f"element-{n}", capacity=10) for n in range(20)),
    Element(DEFAULT_VO, "full", capacity=2),
    Element(DEFAULT_VO, "off", capacity=10, enabled=False),
    Element(DEFAULT_VO, "broken", capacity=10, success_rate=0.0),
    Element(DEFAULT_VO, "moody", capacity=10, success_rate=0.5),
)


def _pilots() -> Iterator[Planned]:
    for _ in range(2):
        yield from (Planned(MyPilotTask(f"element-{n}"), _COMPLETED) for n in range(20))
    for name, count, expected in (("full", 3, None), ("off", 1, _FAILED), ("broken", 2, _FAILED), ("moody", 4, None)):
        yield from (Planned(MyPilotTask(name), expected) for _ in range(count))
