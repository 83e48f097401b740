"""From records to rows: any order, any batches, any repetition say the same, and no state goes back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsume.core.projection import fitted, merge, project
from natsume.model import limits
from natsume.model.record import Child, Failure, Letter, Used
from natsume.model.task import ENDED, Reason, State
from natsume.model.told import Progress
from recorded import commented, done, failed, flagged, heartbeat, progressed, settled, started, submitted

encode = msgspec.json.encode


def only(*records: tuple[str, bytes]):
    (row,) = project(records).rows
    return row


def test_a_life():
    history = [submitted(), started(), failed(), started(2, 20.0), done(attempt=2)]
    states = [only(*history[:count]).state for count in range(1, 6)]
    assert states == [State.ENQUEUED, State.RUNNING, State.WAITING, State.RUNNING, State.COMPLETED]
    row = only(*history)
    assert (row.owner, row.tenant, row.labels, row.arguments) == ("ada", "lhcb", '{"a":"b"}', '{"x":1}')
    assert (row.attempts, row.failures, row.submitted_at, row.started_at, row.finished_at) == (2, 1, 10.0, 90.0, 91.0)
    assert (row.tracked, row.worker, row.lane) == (True, "w2", "normal.small")


def test_what_a_task_used_is_what_its_last_try_tells():
    row = only(failed(used=Used(2.0, 1.5, 1000)), done(attempt=2, used=Used(1.0, 0.5)))
    assert (row.cpu_s, row.memory_peak_bytes) == (0.5, 1000)
    assert only(failed(used=Used(2.0, 1.5, 1000))).cpu_s == 1.5
    assert only(done()).cpu_s is None


def test_an_interrupted_start_waits_for_its_next():
    assert only(started(at=11.0), started(at=12.0, ended=True)).state is State.ENQUEUED
    assert only(started(at=13.0), started(at=12.0, ended=True)).state is State.RUNNING


def test_a_start_tells_whose_task_runs_where_nothing_else_does():
    row = only(started(lane="normal.small", submitted_at=4.0, owner="ada", tenant="lhcb"))
    assert (row.lane, row.submitted_at, row.enqueued_at) == ("normal.small", 4.0, 4.0)
    assert (row.owner, row.tenant, row.tracked) == ("ada", "lhcb", False)


def test_a_dead_letter_keeps_its_message_bytes_and_all():
    letter = Letter(Reason.UNPARSABLE, "task.normal.small.g.A", b"\xff\x00", "ce-id: t\r\n")
    changes = project([done(state=State.FAILED, failure=Failure("E", "no"), letter=letter)])
    (row,), (attempt,) = changes.rows, changes.attempts
    assert (row.reason, row.body, row.arguments, row.headers) == ("unparsable", b"\xff\x00", None, "ce-id: t\r\n")
    assert (attempt.task_id, attempt.attempt, attempt.error, row.failures) == ("t", 1, "E", 1)


def test_children_are_known_with_their_parents_commit():
    children = (Child("c1", "g:B", "background.large", msgspec.Raw(b'{"n":1}'), join="j", member=0),)
    rows = {row.id: row for row in project([done(children=children, owner="ada", root="r")]).rows}
    child = rows["c1"]
    assert (child.state, child.parent, child.root, child.owner) == (State.ENQUEUED, "t", "r", "ada")
    assert (child.lane, child.arguments, child.join_id, child.member) == ("background.large", '{"n":1}', "j", 0)


def test_a_child_that_ended_before_its_parent_was_read_stays_ended():
    parent = done("p", children=(Child("t", "g:A", "normal.small", msgspec.Raw(b"{}")),))
    for records in ([parent, done()], [done(), parent]):
        row = {row.id: row for row in project(records).rows}["t"]
        assert (row.state, row.parent, row.arguments) == (State.COMPLETED, "p", "{}")


@pytest.mark.parametrize(
    "record",
    [
        ("record.done.plain.t", b"garbage"),
        ("record.done.plain.other", done()[1]),
        ("record.submitted.task.t", b"{}"),
        ("record.done.plain." + "t" * 129, done("t" * 129)[1]),
        ("record.done.plain.t", encode(msgspec.json.decode(done()[1]) | {"state": "RUNNING"})),
        ("record.submitted.task.t", submitted()[1].replace(b"task.normal.small.g.A", b"nonsense")),
    ],
)
def test_what_cannot_be_read_is_named_and_holds_up_nothing(record):
    changes = project([started(), record, failed()])
    assert changes.unread == [1]
    assert changes.rows[0].state is State.WAITING


def test_what_was_decided_on_a_dead_letter_stands_beside_its_end():
    end = done(state=State.DROPPED, failure=Failure("E", "no"), letter=Letter(Reason.CRASHED, "s", b"{}", ""))
    for records in ([end, settled()], [settled(), end]):
        row = only(*records)
        assert (row.state, row.reason, row.actor) == (State.DROPPED, "crashed", "g:A")
        assert (row.settled, row.settled_by, row.settled_why, row.replay) == ("replayed", "ada", "mended", "replay")


def test_a_replay_that_was_begun_and_not_sent_settles_nothing_yet():
    end = done(state=State.FAILED, failure=Failure("E", "no"), letter=Letter(Reason.EXHAUSTED, "s", b"{}", ""))
    row = only(end, settled(sent=False))
    assert (row.state, row.settled, row.replay) == (State.FAILED, None, None)


def test_unknown_kinds_change_nothing():
    changes = project([("record.replayed.1.t", b"{}"), ("record.chunk.n-0.t", b"x"), ("other", b"")])
    assert (changes.rows, changes.attempts, changes.unread) == ([], [], [])


def test_what_a_running_task_says_of_itself():
    row = only(started(), progressed(done=1.0), progressed(at=13.0, done=3.0), heartbeat(at=23.0))
    assert (row.state, row.heartbeat_at, row.worker) == (State.RUNNING, 23.0, "w")
    assert (row.progress_done, row.progress_total, row.progress_message) == (3.0, 4.0, "half")


def test_the_end_holds_the_last_progress():
    row = only(progressed(done=3.0), done(progress=Progress(4.0, 4.0)))
    assert (row.progress_done, row.progress_total, row.progress_message) == (4.0, 4.0, "half")


def test_progress_of_an_attempt_that_has_failed_says_nothing_of_the_state():
    assert only(failed(at=12.0), progressed(at=14.0)).state is State.WAITING


def test_a_cancelled_task_is_flagged_and_says_why():
    end = done(state=State.CANCELLED, failure=Failure("Cancelled", "by ada"), flagged=True, comment="stopped")
    for records in ([flagged(), started(), end], [end, started(), flagged()]):
        changes = project(records)
        (row,) = changes.rows
        assert (row.state, row.cancel_requested, row.actor, row.heartbeat_at) == (State.CANCELLED, True, "g:A", 91.0)
        assert {(one.author, one.text) for one in changes.comments} == {
            ("ada", "cancelled: too slow"),
            ("g:A", "stopped"),
        }


def test_a_flag_alone_is_no_sign_of_life():
    row = only(flagged())
    assert (row.state, row.cancel_requested, row.heartbeat_at) == (State.ENQUEUED, True, 0.0)
    assert only(flagged(), submitted()).state is State.ENQUEUED
    assert only(flagged(), submitted()).actor == "g:A"


def test_each_comment_is_kept_once():
    changes = project([commented(), commented(), commented("l")])
    assert [(one.key, one.text) for one in changes.comments] == [("k", "look at this"), ("l", "look at this")]
    assert changes.rows == []


def test_a_long_name_is_kept_by_a_hash_and_stays_itself():
    long, other = "a" * 600, "a" * 599 + "b"
    assert len({fitted(long), fitted(other), fitted("a")}) == 3
    assert len(fitted(long)) == limits.LEDGER_NAME_MAX
    assert fitted(None) is None


@st.composite
def histories(draw):
    """What may be recorded of one task, in the order in which it was."""
    at, records = 10.0, [submitted()] if draw(st.booleans()) else []
    for attempt in range(1, draw(st.integers(1, 4)) + 1):
        for _ in range(draw(st.integers(0, 2))):
            at += draw(st.sampled_from([0.2, 5.0]))
            records.append(started(attempt, at, ended=draw(st.booleans()), crashes=draw(st.integers(0, 2))))
        for say in draw(st.lists(st.sampled_from([progressed, heartbeat]), max_size=3)):
            at += 0.5
            records.append(say(attempt, at))
        if draw(st.booleans()):
            records.append(flagged())
        if draw(st.booleans()):
            at += 1.0
            records.append(failed(attempt, at))
    end = draw(st.sampled_from([None, *sorted(ENDED)]))
    if end is not None:
        failure = None if end is State.COMPLETED else Failure("E", "no")
        letter = Letter(Reason.EXHAUSTED, "s", b"{}", "h") if draw(st.booleans()) and failure else None
        records.append(done(state=end, attempt=5, failure=failure, letter=letter, waits=draw(st.integers(0, 3))))
        if letter and draw(st.booleans()):
            records.append(settled(replayed=draw(st.booleans())))
    return records


@given(histories(), st.randoms(use_true_random=False))
def test_order_batches_and_repetitions_do_not_matter(history, random):
    if not history:
        return
    expected, shuffled = project(history), [*history, *random.choices(history, k=3)]
    random.shuffle(shuffled)
    cut = random.randint(0, len(shuffled))
    found = [project(shuffled[:cut]), project(shuffled[cut:])]
    rows = [row for changes in found for row in changes.rows]
    row = rows[0] if len(rows) == 1 else merge(*rows)
    assert [row] == expected.rows
    kept = {(one.task_id, one.attempt): one for changes in found for one in changes.attempts}
    assert kept == {(one.task_id, one.attempt): one for one in expected.attempts}


@given(histories(), st.randoms(use_true_random=False))
def test_no_state_goes_back(history, random):
    random.shuffle(history)
    row = None
    for record in history:
        new = only(record)
        merged = new if row is None else merge(row, new)
        if row is not None:
            assert merged.step >= row.step
            assert row.finished_at is None or merged.state is row.state
            assert merged.attempts >= row.attempts
        row = merged


def test_an_end_without_a_run_is_no_attempt_and_no_start():
    waiting = {"state": State.CANCELLED, "failure": Failure("Cancelled", "cancelled by ada"), "started_at": 91.0}
    changes = project([submitted(), done(**waiting)])
    (row,) = changes.rows
    assert (row.attempts, row.failures, row.started_at, row.finished_at) == (0, 0, None, 91.0)
    assert not changes.attempts
    row = only(failed(), done(attempt=2, **waiting))
    assert (row.attempts, row.failures) == (1, 1)
