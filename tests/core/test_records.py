"""The class of a done record: whether anything follows from it, and whether it may expire."""

from typing import Any

import msgspec
import pytest

from natsume.core.delivery import Delivery, Rules
from natsume.core.events import Returned
from natsume.core.outcome import completed
from natsume.model.record import Child, Done, Group, Letter, Started, Used
from natsume.model.status import from_records
from natsume.model.subject import LANES
from natsume.model.task import Reason, State, Task
from natsume.model.told import Progress

CHILD = Child("t.0", "app:Fit", "normal.small", msgspec.Raw(b"{}"))
GROUP = Group("t.0", 1, 0, CHILD)
USED = Used(1.0)
LETTER = Letter(Reason.EXHAUSTED, "task.normal.small.app.Fit", b"\xff\x00{}")


def done(state: State = State.COMPLETED, **fields: Any) -> Done:
    return Done("t", "app:Fit", state, "nonce", "w", 1, 0.0, 1.0, **fields)


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        pytest.param(done(), "plain", id="success"),
        pytest.param(done(result=msgspec.Raw(b"42"), trace="t", labels={"a": "b"}), "plain", id="with a result"),
        pytest.param(done(parent="p", root="p"), "plain", id="a child of nobody who waits"),
        pytest.param(done(children=(CHILD,)), "effects", id="children follow"),
        pytest.param(done(chunks=2), "effects", id="chunks of children follow"),
        pytest.param(done(join="j"), "effects", id="a join counts it"),
        pytest.param(done(tracked=True), "effects", id="tracked"),
        pytest.param(done(owner="o"), "effects", id="someone's"),
        pytest.param(done(State.FAILED, discarded=True), "effects", id="failed"),
        pytest.param(done(State.DROPPED, discarded=True), "effects", id="dropped"),
        pytest.param(done(State.CANCELLED), "effects", id="cancelled"),
        pytest.param(done(State.FAILED, letter=LETTER), "dead", id="dead letter"),
        pytest.param(done(State.FAILED, letter=LETTER, join="j", children=(CHILD,)), "dead", id="dead above all"),
    ],
)
def test_the_class_of_a_done_record(record: Done, kind: str) -> None:
    assert record.kind == kind


def test_a_success_says_by_name_what_its_task_and_its_run_say() -> None:
    family = {name: name for name in ("owner", "tenant", "parent", "root", "join", "claim", "replay_of", "trace")}
    told = {"attempt": 2, "waits": 3, "member": 4, "labels": {"a": "b"}, "submitted_at": 0.5, "tracked": True, **family}
    task = Task("t", "app:Fit", LANES[0], b"{}", **told)  # type: ignore[arg-type]
    run = {
        "children": (CHILD,),
        "groups": (GROUP,),
        "chunks": 5,
        "progress": Progress(6),
        "flagged": True,
        "used": USED,
    }
    event = Returned(1.0, 2.0, b"42", **run)  # type: ignore[arg-type]
    record = completed(Delivery(task, b"", 1), Rules("app:Fit", LANES[0], worker="w"), "nonce", event)
    assert msgspec.structs.asdict(record) == msgspec.structs.asdict(
        Done(
            id="t",
            actor="app:Fit",
            state=State.COMPLETED,
            nonce="nonce",
            worker="w",
            started_at=1.0,
            finished_at=2.0,
            lane=str(LANES[0]),
            result=msgspec.Raw(b"42"),
            **told,  # type: ignore[arg-type]
            **run,  # type: ignore[arg-type]
        )
    )


def test_a_dead_letter_keeps_any_body() -> None:
    record = done(State.FAILED, letter=LETTER)
    assert msgspec.json.decode(msgspec.json.encode(record), type=Done) == record


def test_what_is_not_set_takes_no_room() -> None:
    assert len(msgspec.json.encode(done())) < 200


class TestAttemptsOfAnEnd:
    @staticmethod
    def attempts(state: State, attempt: int, lasted_s: float = 0.0, **fields: Any) -> int:
        return Done("t", "app:Fit", state, "nonce", "w", attempt, 5.0, 5.0 + lasted_s, **fields).attempts

    @pytest.mark.parametrize("state", [State.CANCELLED, State.FAILED, State.DROPPED])
    def test_what_ends_while_it_waits_has_had_those_before(self, state: State) -> None:
        assert [self.attempts(state, attempt) for attempt in (1, 2, 3)] == [0, 1, 2]

    def test_what_ran_counts(self) -> None:
        assert self.attempts(State.COMPLETED, 1) == 1
        assert self.attempts(State.FAILED, 2, lasted_s=0.1) == 2
        assert self.attempts(State.FAILED, 2, used=Used(0.0)) == 2
        assert self.attempts(State.DROPPED, 1, crashes=4) == 1


def test_what_a_cancelled_task_said_at_its_end_is_a_comment_before_the_ledger_knows_it() -> None:
    told = from_records(None, [], [], done(State.CANCELLED, comment="stopped halfway"), None)
    assert told is not None
    assert [(one.key, one.author, one.text) for one in told.comments] == [("cancelled", "app:Fit", "stopped halfway")]


def test_a_start_tells_whose_task_runs_where_nothing_else_does() -> None:
    whose = {"lane": "normal.small", "submitted_at": 4.0, "owner": "ada", "tenant": "lhcb", "parent": "p"}
    told = from_records(None, [Started("t", "app:Fit", 1, "w", 5.0, **whose)], [], None, None)
    assert told is not None
    assert (told.state, {name: getattr(told, name) for name in whose}) == (State.RUNNING, whose)


def test_a_start_of_an_older_worker_is_still_read() -> None:
    old = msgspec.json.decode(b'{"id":"t","actor":"app:Fit","attempt":1,"worker":"w","at":5.0}', type=Started)
    told = from_records(None, [old], [], None, None)
    assert told is not None
    assert (told.lane, told.owner, told.submitted_at) == ("", None, None)
