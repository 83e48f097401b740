"""The demo's comparison: anything that is not as it has to be is one sentence."""

from dataclasses import replace

import pytest

from natsume.model.record import Done, Failure
from natsume.model.task import State
from natsume_examples.demo.plan import Plan, Planned
from natsume_examples.demo.verdict import Facts, mismatches, summary
from natsume_examples.owners.tasks import SyncOwnersTask
from natsume_examples.pilots.logic import Element, Status
from natsume_examples.pilots.tasks import MyPilotTask

PLAN = Plan((), (Element("default", "ce", capacity=1),), ())


def done(task_id: str, state: State = State.COMPLETED, worker: str = "b") -> Done:
    failure = None if state is State.COMPLETED else Failure("Sad", "not today")
    return Done(task_id, "g:Actor", state, "nonce", worker, 1, 0.0, 1.0, failure=failure)


GOOD = Facts(
    submitted={
        "sync": Planned(SyncOwnersTask("alice"), State.COMPLETED),
        "lost": Planned(SyncOwnersTask("nobody"), State.FAILED),
        "pilot": Planned(MyPilotTask("ce"), None),
    },
    done=[done("sync"), done("lost", State.FAILED), done("pilot")],
    done_ids=["sync", "lost", "pilot"],
    syncs=frozenset({"sync"}),
    pilots={"pilot": ("ce", Status.SUBMITTED)},
    killed="a",
    interrupted=frozenset({"sync"}),
)


def test_all_is_well():
    assert mismatches(GOOD, PLAN) == []
    assert summary(GOOD).rows["g:Actor"] == {State.COMPLETED: 2, State.FAILED: 1}
    assert summary(GOOD).again == {"sync"}


WRONG = {
    "sync SyncOwnersTask(alice) has 0 done records": {
        "done": GOOD.done[1:],
        "done_ids": ["lost", "pilot"],
        "killed": "",
    },
    "sync SyncOwnersTask(alice) has 2 done records": {"done_ids": ["sync", "sync", "lost", "pilot"]},
    "the service never submitted it": {"done_ids": ["sync", "lost", "pilot", "other"]},
    "ended COMPLETED, not FAILED": {
        "done": [done("sync"), done("lost"), done("pilot")],
        "syncs": frozenset({"sync", "lost"}),
    },
    "ended FAILED (Sad: not today), not COMPLETED": {
        "done": [done("sync", State.FAILED), *GOOD.done[1:]],
        "syncs": frozenset(),
    },
    "its row in owner_syncs says otherwise": {"syncs": frozenset()},
    "has a row in SQLite, but the service never": {"syncs": frozenset({"sync", "other"})},
    "its pilot is failed": {"pilots": {"pilot": ("ce", Status.FAILED)}},
    "its pilot is missing": {"pilots": {}},
    "ended FAILED, but its pilot is submitted": {"done": [*GOOD.done[:2], done("pilot", State.FAILED)]},
    "no task that it ran was ended by another worker": {"killed": "b"},
    "3 messages are left": {"tasks_left": 3},
}


@pytest.mark.parametrize(("sentence", "change"), WRONG.items())
def test_one_thing_wrong_is_one_sentence(sentence, change):
    wrong = mismatches(replace(GOOD, **change), PLAN)
    assert len(wrong) == 1
    assert sentence in wrong[0]


def test_an_element_over_its_capacity():
    pilots = GOOD.pilots | {"sync": ("ce", Status.RUNNING)}
    wrong = mismatches(replace(GOOD, pilots=pilots), PLAN)
    assert wrong == ["element ce holds 2 pilots, more than its 1 slots"]
