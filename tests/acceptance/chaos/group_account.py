"""What became of groups under kills: every promise that does not hold, as a sentence."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from natsume.model.record import Done
from natsume.model.task import State

from .group_installation import MEMBERS, Asked, GroupInstallation
from .installation import Line

CLOCKS_S = 0.002
LOOK_UP_S = 0.1
LEFT_S = 0.2
BUFFERED_S = 2.0


class Kill(msgspec.Struct):
    """What was killed, and when: it was dead, and the broker back, at `over_at`; `join` was complete at that moment."""

    what: str
    at: float
    pids: set[int]
    over_at: float = 0.0
    join: str = ""


class Report(msgspec.Struct):
    """The counts, and what is wrong: nothing, if all promises hold."""

    seed: int
    groups: dict[str, int]
    took_s: float
    kills: dict[str, int]
    caught: int
    callbacks: int
    alarms: int
    called: int
    starts: int
    again: int
    wrong: list[str]

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {sum(self.groups.values())} groups of {MEMBERS} {self.groups} in {self.took_s:.0f} s",
            f"killed -9: {self.kills}; {self.caught} kills between hit before the callback was sent",
            f"{self.callbacks} callbacks and {self.alarms} alarms, one done record each, none before its last member",
            f"the journal has {self.called} starts of them, and {self.starts} in all, {self.again} again after a kill",
            *(f"WRONG: {sentence}" for sentence in self.wrong[:20]),
        ]
        return "\n".join(lines)


async def account(installation: GroupInstallation, kills: list[Kill], seed: int, took_s: float) -> Report:
    """What became of every group, from the records, the journal and a copy of RECORDS that forgets nothing."""
    asked = installation.asked
    records = await installation.all_done({task for group in asked for task in group.all}, within_s=60.0)
    written = await installation.witnessed(len(records))
    starts = starts_of(installation)
    wrong = [f"{task} has {count} done records" for task, count in written.items() if count != 1]
    wrong += [f"{task} was never asked for" for task in set(written) - set(records)]
    for group in asked:
        wrong += flaws(group, records, starts)
    wrong += [f"a process ended: {said}" for said in installation.gave_up()]
    wrong += [
        sentence for task, lines in starts.items() for sentence in unexplained(task, lines, records[task][0], kills)
    ]
    joins = {group.join: starts[group.last][0].at for group in asked}
    return Report(
        seed=seed,
        groups=dict(Counter(group.kind for group in asked)),
        took_s=took_s,
        kills=dict(Counter(kill.what for kill in kills)),
        caught=sum(joins[kill.join] > kill.at + LEFT_S for kill in kills if kill.join),
        callbacks=sum(written[group.callback] for group in asked),
        alarms=sum(written[group.alarm] for group in asked),
        called=sum(len(starts[group.last]) for group in asked),
        starts=sum(map(len, starts.values())),
        again=sum(len(lines) - len({line.attempt for line in lines}) for lines in starts.values()),
        wrong=wrong,
    )


def starts_of(installation: GroupInstallation) -> dict[str, list[Line]]:
    """The starts of each task, as the journal has them."""
    starts: dict[str, list[Line]] = {}
    for line in installation.journal.lines("start"):
        starts.setdefault(line.task, []).append(line)
    return starts


def flaws(group: Asked, records: dict[str, tuple[float, Done]], starts: dict[str, list[Line]]) -> list[str]:
    """What is wrong with a group, as sentences."""
    wrong = []
    states = Counter(records[member][1].state for member in group.members)
    failed = MEMBERS - states[State.COMPLETED]
    if failed != (not group.fires):
        wrong.append(f"group {group.number} ({group.kind}) ended as {dict(states)}")
    if (group.callback in starts) != group.fires or (group.alarm in starts) == group.fires:
        wrong.append(f"group {group.number} called the wrong one")
    if group.fires and waited_s(group, records, starts) < -CLOCKS_S:
        wrong.append(f"group {group.number} was called {waited_s(group, records, starts):.3f} s after its last member")
    if not group.fires:
        failure = records[group.members[3]][1].failure
        if failure is None or "cannot be written as JSON" not in failure.message:
            wrong.append(f"group {group.number}: its member failed without a clear word: {failure}")
    return wrong


def waited_s(group: Asked, records: dict[str, tuple[float, Done]], starts: dict[str, list[Line]]) -> float:
    """From the last member's done record to the first start of the callback."""
    return min(line.at for line in starts[group.callback]) - max(records[member][0] for member in group.members)


def unexplained(task: str, lines: list[Line], done_at: float, kills: list[Kill]) -> Iterator[str]:
    """Starts of an attempt after its first that no kill explains, as sentences.

    A start is explained by one before it that was cut. Where only the broker died, the other run goes on,
    and may commit while this one is looked up.
    """
    lines = sorted(lines)
    for number, line in enumerate(lines):
        by = min(line.at, done_at)
        cut = any(was_cut(one, line.attempt, by, kill) for one in lines[:number] for kill in kills)
        gaps = [round(line.at - one.at, 3) for one in lines[:number] if one.attempt == line.attempt]
        late_s = line.at - done_at
        if late_s > (LOOK_UP_S if cut else CLOCKS_S):
            yield f"{task} ({line.text}) started {late_s:.3f} s after its done record"
        elif gaps and not cut:
            near = [(kill.what, round(line.at - kill.at, 3)) for kill in kills if kill.at < line.at][-4:]
            yield f"{task} ({line.text}), attempt {line.attempt}, started again after {gaps} s; last kills: {near}"


def was_cut(start: Line, attempt: int, by: float, kill: Kill) -> bool:
    """Whether a kill before this moment cut a start: its worker died, or the broker while its task had no record.

    What the broker's death found in a buffer starts later. What a kill found between two attempts may come
    back as the first of them, and then its successor comes twice.
    """
    if kill.at > by:
        return False
    if kill.what == "broker":
        return start.at <= kill.over_at + (BUFFERED_S if start.attempt == attempt else 0.0)
    return start.pid in kill.pids and start.at <= kill.over_at
