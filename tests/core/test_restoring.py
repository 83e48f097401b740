"""What the ledger's rows become in a new broker."""

import msgspec
import pytest
from msgspec.structs import replace

from natsume.core.join import Join
from natsume.core.projection import project
from natsume.core.restoring import as_known, done_of, due_of, lost, task_of
from natsume.model.ledger import Remnant
from natsume.model.record import Child, Done, Failure, Letter
from natsume.model.task import Reason, State
from recorded import done, failed, started, submitted


def row_of(*records):
    return next(row for row in project(records).rows if row.id == "t")


def child(task_id: str) -> Child:
    return Child(task_id, "g:A", "normal.small", msgspec.Raw(b'{"x":1}'), join="j", member=3, labels={"a": "b"})


@pytest.mark.parametrize(
    ("records", "attempt"),
    [
        ((submitted(),), 1),
        ((submitted(), started()), 1),
        ((submitted(), started(), failed()), 2),
        ((submitted(), started(), failed(), started(2)), 2),
        ((failed(2), submitted()), 3),
    ],
)
def test_a_task_goes_on_at_the_attempt_that_it_had_reached(records, attempt):
    task = task_of(row_of(*records))
    assert (task.id, task.attempt, task.owner, task.tenant, task.labels) == ("t", attempt, "ada", "lhcb", {"a": "b"})
    assert (task.body, task.tracked, task.hop) == (b'{"x":1}', True, 0)


def test_a_child_is_known_from_its_parents_commit():
    task = task_of(row_of(done("p", children=(child("t"),), owner="ada", trace="tr")))
    assert (task.actor, str(task.lane), task.body, task.join, task.member) == (
        "g:A",
        "normal.small",
        b'{"x":1}',
        "j",
        3,
    )
    assert (task.parent, task.root, task.owner, task.trace, task.labels) == ("p", "p", "ada", "tr", {"a": "b"})


def test_of_a_start_alone_no_task_can_be_made():
    assert task_of(row_of(started())) is None


def test_what_waits_is_due_when_it_was():
    row = row_of(submitted(), failed(at=12.0))
    assert (due_of(row, 16.0), due_of(row, 18.0)) == (17.0, None)
    assert due_of(row_of(submitted(), failed(at=12.0), started(2)), 0.0) is None


@pytest.mark.parametrize("counts", [True, False])
def test_an_end_stands_again_with_all_but_what_follows_from_it(counts):
    failure, letter = Failure("E", "no", "trace"), Letter(Reason.EXHAUSTED, "s", b"\xff", "h")
    record = done(
        state=State.FAILED, failure=failure, letter=letter, join="j", member=1, children=(child("c"),), tracked=True
    )
    was = msgspec.json.decode(record[1], type=Done)
    found = done_of(Remnant(row_of(record), "trace"), {"j"} if counts else ())
    join = {} if counts else {"join": None, "member": None}
    assert found == replace(was, nonce="restored", children=(), discarded=False, **join)


def test_what_is_lost_is_kept_if_a_join_waits_for_it():
    row = row_of(done("p", children=(child("t"),)))
    end = lost(row, {"j"}, 99.0)
    assert (end.state, end.join, end.member, end.finished_at) == (State.DROPPED, "j", 3, 99.0)
    assert (end.letter.reason, end.letter.body) == (Reason.UNRETRYABLE, b'{"x":1}')
    alone = lost(row, (), 99.0)
    assert (alone.letter, alone.discarded, alone.join) == (None, True, None)


def test_callbacks_that_the_ledger_has_heard_of_are_not_due_again():
    join = Join("j", "p", 0, 1, child("callback"), 1.0, on_failure=child("alarm"))
    told = [as_known(join, known) for known in ({}, {"callback": State.ENQUEUED}, {"alarm": State.COMPLETED})]
    assert [(one.fired, one.failure_told) for one in told] == [(False, False), (True, False), (False, True)]
    assert all(one.on_failure == join.on_failure for one in told)


@pytest.mark.parametrize("ended", [State.COMPLETED, State.FAILED])
def test_an_alarm_that_is_forgotten_is_not_sounded_after_the_callback(ended):
    join = Join("j", "p", 0, 1, child("callback"), 1.0, on_failure=child("alarm"))
    assert as_known(join, {"callback": ended}).on_failure is None
    assert as_known(join, {"callback": ended, "alarm": State.FAILED}) == replace(join, fired=True, failure_told=True)
