"""The laws of groups hold in seeded worlds with several conductors, and each planted bug breaks one."""

import os
import secrets
from collections import Counter
from typing import get_args

import pytest

from natsume.core import reaction as do
from natsume.core.join import Join, JoinState
from natsume.model.record import When

from .group_planted import BUGS, PlantedInReactor
from .group_run import simulate
from .reactor import Conductor

FRESH = int(os.environ.get("NATSUME_SIM_SEEDS", "200")) * 2
BATCHES = 5
FOUND_WITHIN = 2_000


@pytest.mark.parametrize("batch", range(BATCHES))
def test_fresh_worlds_keep_every_law(batch: int) -> None:
    base = secrets.randbelow(10**9)
    for seed in range(base, base + max(1, FRESH // BATCHES)):
        report = simulate(seed)
        how = f"replay it: python -m tests.simulation groups replay {seed}"
        assert report.broken is None, f"seed {seed}: {report.broken}; {how}"


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
    assert len(first) > 50


def test_every_effect_is_played_and_every_end_of_a_join_is_seen() -> None:
    """And a blocked join fires after a replay, a group is empty, a member has a group of its own."""
    played: Counter[object] = Counter()
    blocked: set[str] = set()

    def look(join: Join) -> None:
        played[join.state] += 1
        played["empty"] += not join.total
        played["nested"] += join.root != join.parent
        if join.state is JoinState.BLOCKED:
            blocked.add(join.id)
        if join.state is JoinState.FIRED:
            played[join.when] += 1
            played["after a replay"] += join.id in blocked
        played["told"] += join.failure_told

    def watch(conductor: Conductor) -> None:
        react = conductor.react

        def watched(*batch: object, **how: bool) -> do.Reaction:
            reaction, answer = react(*batch, **how), None
            while True:
                try:
                    effect = reaction.send(answer)
                except StopIteration:
                    return
                played[type(effect)] += 1
                answer = yield effect
                if isinstance(effect, do.UpdateJoin):
                    look(effect.join)

        conductor.react = watched

    for seed in range(300):
        blocked.clear()
        simulate(seed, PlantedInReactor("nothing, but watched", watch))
    shown = set(JoinState) - {JoinState.CANCELLED}  # nobody cancels in worlds with groups
    wanted = {*get_args(do.Effect), *shown, *When, "empty", "nested", "after a replay", "told"}
    # The store loses no join, and no actor here is unique: claims are tried on a real broker.
    assert wanted - {kind for kind, count in played.items() if count} == {do.MissJoin, do.SubmitUnique}
