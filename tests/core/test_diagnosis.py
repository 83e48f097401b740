"""What doctor finds in facts, as a table."""

import pytest

from natsume.core.diagnosis import Durability, Facts, diagnose
from natsume.core.lanes import Reading
from natsume.enums import Priority, Size
from natsume.model.lock import Entry, Hold, Holding, Standing
from natsume.model.subject import LANES, Lane

NORMAL = Lane(Priority.NORMAL, Size.SMALL)
REALTIME = Lane(Priority.REALTIME, Size.SMALL)
EMPTY = {lane: Reading() for lane in LANES}

TABLE = [
    (Facts(), []),
    (Facts(version="2.14.0", schedules_allowed=True, skew_s=0.9, lanes=EMPTY, effects=Reading()), []),
    (Facts(version="2.14.0-RC.1"), []),
    (Facts(version="2.13.9"), [("error", "version")]),
    (Facts(version="2.9"), [("error", "version")]),
    (Facts(version="3.0.0"), []),
    (Facts(jetstream="the broker has no JetStream"), [("error", "jetstream")]),
    (Facts(schedules_allowed=False), [("error", "schedules")]),
    (Facts(unreachable="no broker answers", skew_s=9), [("error", "broker")]),
    (Facts(differences=("TASKS is missing",)), [("warning", "topology")]),
    (Facts(skew_s=1.5), [("warning", "clock")]),
    (Facts(skew_s=-1.5), [("warning", "clock")]),
    (Facts(durability=Durability(sync_always=True)), []),
    (Facts(durability=Durability(sync_interval_s=1)), [("note", "durability")]),
    (Facts(durability=Durability(sync_interval_s=120)), [("warning", "durability")]),
    (Facts(durability=Durability(problem="refused")), [("note", "durability")]),
    (Facts(lanes=EMPTY | {NORMAL: Reading(1)}), [("error", "lane normal.small")]),
    (Facts(lanes=EMPTY | {REALTIME: Reading(1, waiting_pulls=1)}), [("warning", "lane realtime.small")]),
    (Facts(effects=Reading(1)), [("error", "effects")]),
    (Facts(problems=("a:B is broken", "a:C is broken")), [("error", "actors"), ("error", "actors")]),
]


@pytest.mark.parametrize(("facts", "expected"), TABLE)
def test_facts_lead_to_findings(facts, expected):
    findings = diagnose(facts)
    assert [(finding.severity, finding.subject) for finding in findings] == expected
    assert all(finding.sentence and finding.advice for finding in findings)


def test_the_worst_comes_first():
    facts = Facts(durability=Durability(problem="refused"), skew_s=5, effects=Reading(1))
    assert [finding.severity for finding in diagnose(facts)] == ["error", "warning", "note"]


def test_the_clock_says_who_is_behind():
    assert "behind the broker's" in diagnose(Facts(skew_s=2))[0].sentence
    assert "ahead of the broker's" in diagnose(Facts(skew_s=-2))[0].sentence


def lock(waiters: int = 1, ends_at: float | None = 20_000.0, hold: Hold = Hold.HELD) -> Standing:
    holding = Holding("run", "t", 1_000.0, worker="w-1", hold=hold)
    return Standing("mutex.job.7", "mutex:job:7", (Entry("0", 1, holding, ends_at),), waiters)


def lock_findings(standing: Standing, now: float = 10_000.0, connected: tuple[str, ...] | None = None) -> list[str]:
    facts = Facts("nats://x", locks=(standing,), now=now, connected=connected)
    return [finding.sentence for finding in diagnose(facts) if finding.subject == "lock mutex:job:7"]


def test_a_lock_that_is_held_for_long_while_others_wait() -> None:
    assert lock_findings(lock(3)) == ["task t on worker w-1 holds it for 2.5 h, and 3 wait"]
    assert lock_findings(lock(0)) == lock_findings(lock(3), now=2_000.0) == []
    assert lock_findings(lock(3, hold=Hold.REQUESTED)) == []


def test_a_lock_that_stays_although_its_worker_is_gone() -> None:
    (said,) = lock_findings(lock(0, None), connected=("natsume worker w-2", "natsume keepalive w-11"))
    assert said == "task t on worker w-1 holds it, which is not connected; this lock does not end by itself"
    assert lock_findings(lock(0, None), connected=("natsume worker w-1",)) == []
    assert lock_findings(lock(0, None)) == lock_findings(lock(0), connected=()) == []
