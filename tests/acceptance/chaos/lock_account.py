"""What became of tasks with locks while everything broke: the counts, and every promise that does not hold."""

from collections import Counter
from collections.abc import Mapping
from statistics import median

import msgspec

from natsume.model.task import State

from .lock_actors import Teller
from .lock_installation import LockInstallation, backwards

GROUPS = {"writer": "rw", "reader": "rw"}
SHARED = ("reader", "permit")


class Struck(msgspec.Struct):
    """A fault, when it struck, and the tasks that held their locks there."""

    what: str
    at: float
    holders: set[str] = msgspec.field(default_factory=set)


class Asked(msgspec.Struct):
    """A task that was asked for."""

    task: Teller

    @property
    def lock(self) -> tuple[str, str]:
        """Which lock it takes."""
        return GROUPS.get(self.task.kind, self.task.kind), self.task.key

    @property
    def is_waited_for(self) -> bool:
        """Whether another must wait as long as it holds its lock."""
        return self.task.kind != "permit"

    def waits_for(self, other: "Asked") -> bool:
        """Whether it may not run beside the other."""
        return (
            self is not other
            and self.lock == other.lock
            and not (self.task.kind == other.task.kind and self.task.kind in SHARED)
        )


class Report(msgspec.Struct):
    """The counts, and what is wrong: nothing, if all promises hold."""

    seed: int
    took_s: float
    faults: dict[str, int]
    holders: int
    tasks: int
    starts: int
    killed: int
    told: int
    dropped: int
    accepted: int
    refused: int
    waits: dict[str, list[float]]
    wrong: list[str]

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {self.tasks} tasks in {self.took_s:.0f} s, {self.starts} starts, one done record each",
            f"faults: {self.faults}; {self.holders} tasks held a lock where one struck",
            f"fenced writes: {self.accepted} accepted in the order of their tokens, {self.refused} refused",
            f"runs without an outcome: {self.killed} killed, {self.dropped} dropped; {self.told} were told of a loss",
            *(
                f"after {what}: {len(waits)} waiters started in {median(waits):.1f} s, at most {max(waits):.1f} s"
                for what, waits in self.waits.items()
            ),
            *(f"WRONG: {sentence}" for sentence in self.wrong[:20]),
        ]
        return "\n".join(lines)


async def account(
    locks: LockInstallation, asked: Mapping[str, Asked], struck: list[Struck], seed: int, took_s: float
) -> Report:
    """What became of every task, from the records, the journal, the database and a copy of all done records."""
    written, journal = locks.writes(), locks.journal
    records = await locks.records(asked)
    commits = await locks.witnessed(len(records))
    wrong = [f"a write out of turn: {sentence}" for sentence in backwards(written)]
    wrong += [f"{task} has {count} done records" for task, count in commits.items() if count != 1]
    wrong += [f"{task} has no done record" for task in set(asked) - set(commits)]
    wrong += [
        f"{task}: {end.state} {end.failure}" for task, (_, end) in records.items() if end.state is not State.COMPLETED
    ]
    starts = Counter((line.task, line.attempt) for line in journal.lines("start"))
    ends = Counter((line.task, line.attempt) for line in journal.lines("end"))
    return Report(
        seed=seed,
        took_s=took_s,
        faults=dict(Counter(one.what for one in struck)),
        holders=sum(len(one.holders) for one in struck),
        tasks=len(asked),
        starts=starts.total(),
        killed=(starts - ends).total(),
        told=len(journal.lines("told")),
        dropped=sum(count - 1 for count in ends.values()),
        accepted=sum(map(len, written.values())),
        refused=len(journal.lines("fenced")),
        waits=_waits(locks, asked, struck),
        wrong=wrong,
    )


def went_on(locks: LockInstallation, asked: Mapping[str, Asked], fault: Struck) -> list[float | None]:
    """For each holder that a fault struck: how long until another that waits for its lock had it."""
    starts = [(locks.true_time(line) - fault.at, line.task) for line in locks.journal.lines("start")]
    starts = [(after, task) for after, task in starts if after > 0]
    holders = [asked[task] for task in fault.holders if asked[task].is_waited_for]
    return [min((after for after, task in starts if asked[task].waits_for(one)), default=None) for one in holders]


def _waits(locks: LockInstallation, asked: Mapping[str, Asked], struck: list[Struck]) -> dict[str, list[float]]:
    waits: dict[str, list[float]] = {}
    for fault in struck:
        waits.setdefault(fault.what, []).extend(after for after in went_on(locks, asked, fault) if after is not None)
    return {what: found for what, found in waits.items() if found}
