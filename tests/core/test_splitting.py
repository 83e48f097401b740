"""Halving: from any batch, a poison anywhere in it is alone before an innocent has run too often."""

import math
from collections import Counter, defaultdict

import pytest

from natsume.core import splitting
from natsume.core.effects import Mark
from natsume.model.record import Started


def runs_until_alone(count: int, poison: int) -> Counter[int]:
    """How often each of a batch runs, if the call of a batch with the poison in it fails as a whole."""
    runs: Counter[int] = Counter()
    parts = [range(count)]
    while parts:
        part = parts.pop()
        runs.update(part)
        if poison in part and len(part) > 1:
            parts += splitting.halves(part)
    return runs


def crashes_until_alone(count: int, poison: int) -> Counter[int]:
    """The same, where a batch is brought together again by nothing but the halves that its marks name."""
    runs: Counter[int] = Counter(range(count))  # the first start has no mark
    batches, number = [list(range(count))], 0
    while batches:
        batch = batches.pop()
        runs.update(batch)
        if poison not in batch or len(batch) == 1:
            continue
        number += 1
        halves = defaultdict(list)
        for place, member in enumerate(batch):
            halves[splitting.half_of(f"b{number}", place, len(batch))].append(member)
        assert len(halves) == 2
        batches += halves.values()
    return runs


@pytest.mark.parametrize("split", [runs_until_alone, crashes_until_alone])
@pytest.mark.parametrize("count", [2, 3, 7, 100, 500])
def test_no_innocent_runs_more_often_than_the_bound(split, count: int) -> None:
    for poison in range(count):
        runs = split(count, poison)
        innocents = [runs[member] for member in range(count) if member != poison]
        assert all(innocents), "each has run"
        assert max(innocents) <= 2 * math.log2(count) + 2


@pytest.mark.parametrize("crashes", [1, 2])
def test_a_start_in_a_batch_counts_no_crash(crashes: int) -> None:
    mark = Mark(Started("t", "a:A", 1, "w", 0.0, "me", crashes), 3)
    record = splitting.marked(mark, "b-0").record
    assert (record.crashes, record.half) == (crashes - 1, "b-0")


def test_a_start_that_counted_none_still_counts_none() -> None:
    assert splitting.marked(Mark(Started("t", "a:A", 1, "w", 0.0, "me", 0), 3), "b-0").record.crashes == 0
