"""Groups under kills of everything: `python -m tests.acceptance.chaos.groups GROUPS SEED [KIND]`.

Workers, conductors and the broker are killed -9 at moments that the seed draws, counted in starts of
tasks; some conductors at the instant at which the last member of a group has its done record. In the
end every callback must have exactly one done record, and none may have started before its last member's.
"""

import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import msgspec

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.model.record import Done
from natsume.model.task import State
from natsume.testing import until

from .group_actors import KINDS
from .group_installation import MEMBERS, Asked, GroupInstallation
from .installation import Line

AIMS = ("worker", "conductor", "broker", "between")
AT_ONCE = 12
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


class Storm:
    """Kills what the seed says, when the seed says."""

    def __init__(self, installation: GroupInstallation, seed: int) -> None:
        self._installation = installation
        self._rng = Random(seed)
        self.kills: list[Kill] = []
        self._missing: dict[str, set[str]] = {}
        self._armed = False
        installation.broker.wire.listen("record.done.*.*", self._on_done)

    async def rage(self, each: int, starts: int) -> None:
        """Kill each kind so often, spread over about so many starts."""
        journal, aims = self._installation.journal, list(AIMS) * each
        self._rng.shuffle(aims)
        moments = sorted(self._rng.sample(range(MEMBERS, starts), len(aims)))
        for aim, moment in zip(aims, moments, strict=True):
            await until(journal.started, lambda tasks, moment=moment: len(tasks) >= moment, within_s=60.0)
            await getattr(self, f"_kill_{aim}")()

    async def _kill_worker(self) -> None:
        worker = self._rng.choice(self._installation.live_workers())
        await self._kill("worker", {worker.pid}, worker.kill())

    async def _kill_conductor(self) -> None:
        conductor = self._rng.choice(self._installation.live_conductors())
        await self._kill("conductor", {conductor.pid}, conductor.kill())

    async def _kill_broker(self) -> None:
        await self._kill("broker", {self._installation.server.pid}, self._installation.restart_broker())

    async def _kill(self, what: str, pids: set[int], killing: Awaitable[None]) -> None:
        kill = Kill(what, time.time(), pids)
        self.kills.append(kill)
        await killing
        kill.over_at = time.time()

    async def _kill_between(self) -> None:
        """Wait for the next last member; its record had all conductors killed."""
        kills = len(self.kills)
        self._armed = True
        await until(lambda: len(self.kills), lambda count: count > kills, within_s=60.0)
        for conductor in self._installation.live_conductors():
            await conductor.kill()

    def _on_done(self, subject: bytes, _reply: bytes, body: bytes, _headers: bytes | None) -> None:
        done = msgspec.json.decode(body, type=Done)
        if done.join is None:
            return
        ended = self._missing.setdefault(done.join, set())
        ended.add(done.id)
        if len(ended) == MEMBERS and self._armed:
            self._armed = False
            conductors = [one for one in self._installation.conductors if one.process.returncode is None]
            for conductor in conductors:
                conductor.process.kill()
            now = time.time()
            self.kills.append(Kill("between", now, {one.pid for one in conductors}, now, done.join))


@asynccontextmanager
async def kept_up(installation: GroupInstallation) -> AsyncIterator[None]:
    """Start anew what has ended, as a supervisor does."""

    async def supervise() -> None:
        while True:
            installation.keep_up()
            await asyncio.sleep(0.05)

    supervisor = asyncio.create_task(supervise())
    try:
        yield
    finally:
        supervisor.cancel()


class Report(msgspec.Struct):
    """The counts, and what is wrong: nothing, if all promises hold."""

    seed: int
    groups: dict[str, int]
    took_s: float
    kills: dict[str, int]
    caught: int
    callbacks: int
    alarms: int
    starts: int
    again: int
    wrong: list[str]

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {sum(self.groups.values())} groups of {MEMBERS} {self.groups} in {self.took_s:.0f} s",
            f"killed -9: {self.kills}; {self.caught} kills between hit before the callback was sent",
            f"{self.callbacks} callbacks and {self.alarms} alarms, one done record each, none before its last member",
            f"{self.starts} starts, {self.again} of them again after a kill",
            *(f"WRONG: {sentence}" for sentence in self.wrong[:20]),
        ]
        return "\n".join(lines)


async def storm(installation: GroupInstallation, kinds: list[str], seed: int, each: int) -> Report:
    """Ask for groups of these kinds while everything is killed `each` times, and account for them."""
    began = time.monotonic()
    installation.keep_up()
    for process in (*installation.workers, *installation.conductors):
        await process.ready()
    await installation.witness()
    rage = Storm(installation, seed)
    async with kept_up(installation):
        await asyncio.gather(
            installation.ask_for(kinds, AT_ONCE),
            rage.rage(each, int(len(kinds) * MEMBERS * 0.85)),
        )
        await installation.all_finished(within_s=90.0)
    took_s = time.monotonic() - began
    return await account(installation, rage.kills, seed, took_s)


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
    again = [line for lines in starts.values() for line in sorted(lines)[1:]]
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
        starts=sum(map(len, starts.values())),
        again=len([line for line in again if records[line.task][1].attempt == 1]),
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

    A start is explained by one before it that was cut: its worker was killed before the task's done record
    stood, or the broker was, while the task ran or was about to. Where only the broker died, the other run
    goes on, and may commit while this one is looked up.
    """
    lines = sorted(lines)
    for number, line in enumerate(lines):
        before = [one for one in lines[:number] if one.attempt == line.attempt]
        cut = any(was_cut(one, min(line.at, done_at), kill) for one in before for kill in kills)
        late_s = line.at - done_at
        if late_s > (LOOK_UP_S if cut else CLOCKS_S):
            yield f"{task} ({line.text}) started {late_s:.3f} s after its done record"
        elif before and not cut:
            gaps = [round(line.at - one.at, 3) for one in before]
            yield f"{task} ({line.text}) started again after {gaps} s, and no kill explains it"


def was_cut(start: Line, by: float, kill: Kill) -> bool:
    """Whether a kill before this moment cut a start; one that the broker's death found in a buffer runs later."""
    if kill.what == "broker":
        return start.at <= kill.over_at + BUFFERED_S and kill.at <= by
    return start.pid in kill.pids and start.at <= kill.over_at and kill.at <= by


async def _main(count: int, seed: int, kind: str) -> int:
    kinds = [kind] * count if kind != "all" else (list(KINDS) * count)[:count]
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as folder:
        installation = GroupInstallation(server, Path(folder), ack_wait_s=2.0, seed=seed)
        try:
            report = await storm(await installation.open(), kinds, seed, each=max(3, count // 15))
        finally:
            await installation.close()
            server.kill()
    print(report)
    return bool(report.wrong)


if __name__ == "__main__":
    kind = sys.argv[3] if len(sys.argv) > 3 else "plain"
    sys.exit(asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]), kind)))
