"""The laws of locks, whatever is interleaved and wherever it crashes; planted bugs break them."""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from natsume.enums import Priority
from natsume.model.lock import Mode, Want

from .clock import stepping
from .planted import BUGS, ReleasesWhatStands, RenewsWithoutTtl
from .process import Broken
from .room import CLOCKS, ENDS_WITHIN_S, Room

KINDS = ("m", "m", "s", "s", "r", "w", "mw", "ms")
WORKERS = st.integers(0, len(CLOCKS) - 1)
SOME = st.integers(0, 2**16)
PROFILE = settings(
    max_examples=150,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)


@pytest.fixture(autouse=True)
def without_a_loop() -> Iterator[None]:
    with stepping():
        yield


class Locks(RuleBasedStateMachine):
    """Tasks are brought, step, renew, crash, and time goes by."""

    room: Room

    @initialize(kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=6), urgent=SOME)
    def open(self, kinds: list[str], urgent: int) -> None:
        self.room = Room(tasks_of(kinds, urgent))

    @precondition(lambda self: self.room.lane)
    @rule(number=SOME, worker=WORKERS)
    def deliver(self, number: int, worker: int) -> None:
        self.room.deliver(number % len(self.room.lane), worker)

    @precondition(lambda self: self.room.processes)
    @rule(number=SOME, count=st.integers(1, 12))
    def step(self, number: int, count: int) -> None:
        process = self.room.processes[number % len(self.room.processes)]
        for _ in range(count):
            if process not in self.room.processes:
                break
            self.room.step(process)
            if process.holds:
                break

    @precondition(lambda self: any(process.holds for process in self.room.processes))
    @rule(number=SOME)
    def renew(self, number: int) -> None:
        holders = [process for process in self.room.processes if process.holds]
        self.room.renew(holders[number % len(holders)])

    @precondition(lambda self: self.room.processes)
    @rule(number=SOME)
    def crash(self, number: int) -> None:
        self.room.crash(self.room.processes[number % len(self.room.processes)])

    @rule(seconds=st.sampled_from((0.1, 1.0, 4.0, 11.0, 61.0)))
    def advance(self, seconds: float) -> None:
        self.room.advance(seconds)

    def teardown(self) -> None:
        if hasattr(self, "room"):
            try:
                self.room.finish(ENDS_WITHIN_S)
            finally:
                self.room.close()


def tasks_of(kinds: list[str], urgent: int) -> dict[str, Any]:
    ranks = [Priority.REALTIME if urgent >> number & 1 else Priority.NORMAL for number in range(len(kinds))]
    return {f"t{number}": (ranks[number], wants_of(kind)) for number, kind in enumerate(kinds)}


def wants_of(kinds: Iterable[str]) -> list[Want]:
    """What the letters ask for: a mutex, one of two permits, to read, to write."""
    known = {
        "m": Want("mutex.x", "mutex:x", ttl_s=10.0),
        "s": Want("sem.x", "semaphore:x", Mode.PERMIT, 2, ttl_s=10.0),
        "r": Want("rw.x", "rwlock:x", Mode.SHARED, ttl_s=10.0),
        "w": Want("rw.x", "rwlock:x", Mode.EXCLUSIVE, ttl_s=10.0),
    }
    return [known[kind] for kind in kinds]


def test_locks_keep_their_laws_under_any_interleaving_and_crash() -> None:
    run_state_machine_as_test(Locks, settings=PROFILE)


@pytest.mark.parametrize("bug", [RenewsWithoutTtl, ReleasesWhatStands], ids=lambda bug: bug.__name__)
def test_the_same_search_finds_a_planted_bug(bug: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Room, "adapter", bug)
    found = settings(PROFILE, max_examples=3_000, derandomize=True, phases=[Phase.generate])
    with pytest.raises(Broken) as broken:
        run_state_machine_as_test(Locks, settings=found)
    print(f"{bug.__name__}: {broken.value}")


def played(seed: int, adapter: type | None = None) -> str | None:
    """The law that a world of this seed breaks, if any; every other world is without crashes."""
    rng = Random(seed)
    kinds = rng.choice((KINDS, KINDS, ("s",), ("r", "w"), ("m", "mw")))
    room = Room(tasks_of([rng.choice(kinds) for _ in range(rng.randint(2, 6))], rng.randrange(64)))
    room.adapter = adapter or room.adapter
    danger = rng.choice((0.0, 0.02, 0.1))
    time = rng.choice((0.0, 0.02, 0.1))
    try:
        for _ in range(rng.choice((50, 200, 500))):
            play(room, rng, danger, time)
        room.finish(ENDS_WITHIN_S)
    except Broken as broken:
        return str(broken)
    finally:
        room.close()
    return None


def play(room: Room, rng: Random, danger: float, time: float) -> None:
    """One thing happens."""
    if room.lane and rng.random() < 0.2:
        return room.deliver(rng.randrange(len(room.lane)), rng.randrange(len(CLOCKS)))
    if rng.random() < time:
        return room.advance(rng.choice((0.1, 1.0, 4.0, 11.0, 61.0)))
    if not room.processes:
        return None
    process = rng.choice(room.processes)
    if rng.random() < danger:
        return room.crash(process)
    if process.holds and rng.random() < 0.5:
        return room.renew(process)
    return room.step(process)


def test_seeded_worlds_keep_every_law() -> None:
    for seed in range(1_500):
        broken = played(seed)
        assert broken is None, f"seed {seed}: {broken}"


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: type) -> None:
    for seed in range(1_500):
        broken = played(seed, bug)
        if broken is not None:
            print(f"{bug.__name__}: seed {seed}: {broken}")
            return
    pytest.fail(f"{bug.__name__}: no law was broken")
