"""The laws hold in seeded worlds, and each planted bug breaks one."""

import os
import secrets

import pytest

from natsume.core import events as ev
from natsume.core import phases as at
from natsume.core.attempt import TABLE
from natsume.core.delivery import Delivery, Rules
from natsume.core.rows import Step

from .planted import BUGS, Planted
from .run import simulate
from .worker import Worker

FRESH = int(os.environ.get("NATSUME_SIM_SEEDS", "200"))
BATCHES = 10
FOUND_WITHIN = 10_000

REGRESSIONS = {
    13: "a poison task with a lock waited for the lock of its own dead worker, was taken for new, and never ended",
    103: "a run that was alone waited to be alone again when its mark was refused: its worker stood still",
    560: "a delivery that aged in a stalled worker's buffer was trusted and ran after its commit",
}


@pytest.mark.parametrize("seed", REGRESSIONS, ids=str)
def test_what_was_broken_once_holds(seed: int) -> None:
    report = simulate(seed)
    assert report.broken is None, f"seed {seed}, where {REGRESSIONS[seed]}: {report.broken}"


@pytest.mark.parametrize("batch", range(BATCHES))
def test_fresh_worlds_keep_every_law(batch: int) -> None:
    base = secrets.randbelow(10**9)
    for seed in range(base, base + max(1, FRESH // BATCHES)):
        report = simulate(seed)
        assert report.broken is None, f"seed {seed}: {report.broken}; replay it: just sim-replay {seed}"


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    for seed in range(FOUND_WITHIN):
        report = simulate(seed, BUGS[name])
        if report.broken is not None:
            print(f"{name}: seed {seed}: {report.broken}")
            return
    pytest.fail(f"{name}: no law was broken in {FOUND_WITHIN} worlds")


def test_a_seed_replays_the_same_world() -> None:
    first: list[str] = []
    second: list[str] = []
    simulate(13, say=first.append)
    simulate(13, say=second.append)
    assert first == second
    assert len(first) > 20


def test_every_row_of_the_table_is_played() -> None:
    left = set(TABLE)

    def watch(worker: Worker) -> None:
        table = worker.table

        def watched(phase: at.Phase, delivery: Delivery, rules: Rules, event: ev.Event) -> Step:
            left.discard((type(phase), type(event)))
            return table(phase, delivery, rules, event)

        worker.table = watched

    for seed in range(5_000):
        simulate(seed, Planted("nothing, but watched", spoil=watch))
        if not left:
            return
    pytest.fail(f"never played: {left}")
