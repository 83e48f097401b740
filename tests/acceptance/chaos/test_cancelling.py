"""Tasks are cancelled while workers, cancellers and the broker are killed: each ends once, and none starts later."""

import asyncio
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from natsume.compose.conductor import conducting
from natsume.model import times
from natsume.model.task import State
from natsume.testing import until

from .actors import Heeding, Nap
from .installation import REGISTRY, Installation

WAITING, READY, RUNNING = 60, 150, 20
CANCELLERS, WORKERS_KILLED = 12, 6
LATER_S = 3600.0
IN_FLIGHT_S = 0.1


@pytest.fixture(autouse=True)
def conductors_look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "FLAGS_S", 0.5)


class Canceller:
    """A process that cancels tasks; `reached` are those that it has begun with."""

    def __init__(self, installation: Installation, tokens: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("canceller.py"))],
            env=installation.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        self.process.stdin.write("\n".join(tokens))
        self.process.stdin.close()
        self._tokens = set(tokens)
        self.reached: list[str] = []

    def until(self, count: int) -> bool:
        """Read until so many have been flagged and not committed; False at the end."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            word = line.strip()
            if word in self._tokens:
                self.reached.append(word)
            elif word == "flagged":
                count -= 1
                if count <= 0:
                    return True
        return False

    def end(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


async def test_each_task_ends_once_whoever_is_killed(installation: Installation) -> None:
    await installation.witness()
    rng, client = random.Random(5), installation.client
    async with conducting(installation.settings, REGISTRY):
        workers = [await installation.start_worker(concurrency=RUNNING // 2).ready() for _ in range(2)]
        waiting = [await client.submit(Nap(number), delay=LATER_S) for number in range(WAITING)]
        running = [await client.submit(Heeding(60.0), track=True) for _ in range(RUNNING)]
        ready = [await client.submit(Nap(number, 0.05), track=True) for number in range(READY)]
        await until(lambda: set(running) <= installation.journal.started())

        left = waiting + running[: RUNNING // 2] + ready[: READY // 2]
        rng.shuffle(left)
        in_between: list[str] = []
        for number in range(CANCELLERS):
            canceller = Canceller(installation, left)
            cut = await asyncio.to_thread(canceller.until, rng.randint(1, 4))
            canceller.end()
            left = [token for token in left if token not in canceller.reached]
            in_between += canceller.reached[-1:] if cut else []
            if number < WORKERS_KILLED:
                await workers[number % 2].kill()
                workers[number % 2] = await installation.start_worker(concurrency=RUNNING // 2).ready()
            if number in {4, 8}:
                await installation.restart_broker()
        ended = [await _insist(client.cancel, token) for token in (*left, *running)]
        everything = waiting + running + ready
        records = await installation.all_done(everything, within_s=60)
    counts = await installation.witnessed(len(everything))
    states = Counter(str(record.state) for _, record in records.values())
    starts = installation.journal.lines("start")
    late = [line.at - records[line.task][0] for line in starts if line.at > records[line.task][0]]
    print(
        f"{CANCELLERS} cancellers, {WORKERS_KILLED} workers, 2 brokers killed; {len(in_between)} between flag and end; "
        f"{dict(states)}; {len(ended)} cancelled last; {len(late)} starts after the end, of {len(starts)}"
    )
    assert counts == dict.fromkeys(everything, 1)
    assert {records[token][1].state for token in waiting} == {State.CANCELLED}
    assert {records[token][1].state for token in in_between} == {State.CANCELLED}
    assert {records[token][1].state for token in running} == {State.CANCELLED}
    assert {records[token][1].state for token in ready} <= {State.CANCELLED, State.COMPLETED}
    assert not set(waiting) & installation.journal.started()
    assert [lateness for lateness in late if lateness > IN_FLIGHT_S] == []


async def _insist(cancel, token: str) -> bool:
    """Cancel, while the broker may be on its way back."""

    async def once() -> bool | None:
        try:
            return await cancel(token)
        except Exception:  # noqa: BLE001 - asked again
            return None

    return await until(once, lambda answer: answer is not None)
