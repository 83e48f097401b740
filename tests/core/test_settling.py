"""What becomes of a dead letter: which replay, under which id, and what a second order comes to."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from natsume.core.delivery import Delivery, Rules
from natsume.core.events import Raised
from natsume.core.outcome import failed_for_good
from natsume.core.settling import DeadLetter, Order, Outcome, Wanted, judge, settled_of
from natsume.model.codec import task_headers
from natsume.model.limits import ARGUMENTS_MAX
from natsume.model.record import Done, Failure, Letter, Settled, replay_id
from natsume.model.status import task_of
from natsume.model.subject import LANES
from natsume.model.task import Reason, State, Task
from natsume.service.replaying import paced

LANE = LANES[1]
FAMILY: dict[str, Any] = {
    "owner": "ada",
    "tenant": "lhcb",
    "parent": "p",
    "root": "r",
    "join": "j",
    "member": 3,
    "trace": "t",
    "labels": {"a": "b"},
}
OLD = Task(
    "old",
    "app:Fit",
    LANE,
    b'{"n":1}',
    attempt=4,
    hop=9,
    waits=2,
    after="other",
    claim="c",
    schedule="s",
    rights="cancel=owner",
    **FAMILY,
)
AGAIN = Order("ada", "the disk is back")
DISCARD = Order("bob", "too old", discard=True)


def dead(task: Task = OLD) -> Done:
    headers = b"NATS/1.0\r\n%b\r\n" % task_headers(task)
    letter = Letter(Reason.EXHAUSTED, f"task.{LANE}.app.Fit", task.body, headers.decode())
    family = {field: getattr(task, field) for field in FAMILY}
    return Done(task.id, task.actor, State.FAILED, "n", "w", 4, 10.0, 20.0, str(LANE), letter=letter, **family)


def faulty(reason: Reason, body: bytes, actor: str = "app:Fit") -> Done:
    return replace(dead(), actor=actor, letter=Letter(reason, f"task.{LANE}.app", body))


def decided(order: Order, **fields: Any) -> DeadLetter:
    letter = DeadLetter(dead())
    verdict = judge(letter, order, 30.0)
    return DeadLetter(dead(), replace(settled_of(letter, order, verdict.task, "x", 30.0), **fields), 7)


def test_a_replay_is_a_new_task_that_belongs_where_the_old_one_did() -> None:
    verdict = judge(DeadLetter(dead()), AGAIN, 30.0)
    assert verdict.task == Task(
        replay_id("old"),
        "app:Fit",
        LANE,
        b'{"n":1}',
        submitted_at=30.0,
        tracked=True,
        after="other",
        rights="cancel=owner",
        replay_of="old",
        **FAMILY,
    )
    assert (verdict.outcome, replay_id("old") != "old", len(replay_id("old"))) == (Outcome.REPLAYED, True, 32)
    assert replay_id(replay_id("old")) != replay_id("old"), "a replay that fails again has a replay of its own"


def test_the_record_of_a_replay_holds_the_whole_message() -> None:
    letter = DeadLetter(dead())
    task = judge(letter, AGAIN, 30.0).task
    record = settled_of(letter, AGAIN, task, "nonce", 30.0)
    again = msgspec.json.decode(msgspec.json.encode(record), type=Settled)
    assert again.message is not None
    assert (task_of(again.message), again.kind, again.replay) == (task, "replayed", replay_id("old"))
    assert (again.id, again.who, again.why, again.at, again.sent) == ("old", "ada", "the disk is back", 30.0, False)


def test_other_arguments_replace_the_old_ones() -> None:
    verdict = judge(DeadLetter(dead()), replace(AGAIN, body=b'{"n":2}'), 30.0)
    assert verdict.task is not None
    assert (verdict.task.body, verdict.task.join, verdict.task.member) == (b'{"n":2}', "j", 3)


@pytest.mark.parametrize(
    ("standing", "order", "outcome", "says"),
    [
        pytest.param(decided(AGAIN), AGAIN, Outcome.FINISHED, "", id="begun"),
        pytest.param(decided(AGAIN, sent=True), AGAIN, Outcome.UNCHANGED, "", id="replayed"),
        pytest.param(decided(AGAIN), DISCARD, Outcome.REFUSED, "finishes that", id="begun, to discard"),
        pytest.param(
            decided(AGAIN, sent=True), DISCARD, Outcome.REFUSED, "ada has replayed", id="replayed, to discard"
        ),
        pytest.param(decided(DISCARD), DISCARD, Outcome.UNCHANGED, "", id="discarded"),
        pytest.param(decided(DISCARD), AGAIN, Outcome.REFUSED, "bob has discarded", id="discarded, to replay"),
        pytest.param(
            decided(AGAIN), replace(AGAIN, body=b"{}"), Outcome.REFUSED, "other arguments", id="begun, to edit"
        ),
        pytest.param(
            decided(replace(AGAIN, body=b"{}")), replace(AGAIN, body=b"{}"), Outcome.FINISHED, "", id="the same edit"
        ),
        pytest.param(decided(replace(AGAIN, body=b"{}")), AGAIN, Outcome.FINISHED, "", id="an edit, finished by id"),
    ],
)
def test_what_was_decided_stands(standing: DeadLetter, order: Order, outcome: Outcome, says: str) -> None:
    verdict = judge(standing, order, 40.0)
    assert (verdict.outcome, verdict.task, says in verdict.sentence) == (outcome, None, True)


def test_what_was_begun_and_not_sent_is_still_to_be_dealt_with() -> None:
    letters = (DeadLetter(dead()), decided(AGAIN), decided(AGAIN, sent=True), decided(DISCARD))
    assert [letter.is_open for letter in letters] == [True, True, False, False]


@pytest.mark.parametrize(
    ("done", "order", "says"),
    [
        pytest.param(faulty(Reason.UNPARSABLE, b"not json"), AGAIN, "no JSON object", id="unparsable"),
        pytest.param(faulty(Reason.UNPARSABLE, b"[1]"), AGAIN, "no JSON object", id="an array"),
        pytest.param(faulty(Reason.UNPARSABLE, b"{}"), AGAIN, None, id="a wrong header"),
        pytest.param(faulty(Reason.UNPARSABLE, b"not json"), replace(AGAIN, body=b"{}"), None, id="unparsable, edited"),
        pytest.param(faulty(Reason.INVALID_ARGUMENTS, b'{"m":1}'), AGAIN, None, id="invalid arguments"),
        pytest.param(faulty(Reason.UNKNOWN_ACTOR, b"{}"), AGAIN, None, id="unknown actor"),
        pytest.param(faulty(Reason.INVALID_ARGUMENTS, b" " * (ARGUMENTS_MAX + 1)), AGAIN, "more than", id="too large"),
        pytest.param(faulty(Reason.UNKNOWN_ACTOR, b"{}", ""), AGAIN, "names no actor", id="no actor"),
        pytest.param(faulty(Reason.UNKNOWN_ACTOR, b"{}", ""), DISCARD, None, id="no actor, discarded"),
    ],
)
def test_what_cannot_be_replayed_as_it_came_says_why(done: Done, order: Order, says: str | None) -> None:
    verdict = judge(DeadLetter(done), order, 30.0)
    assert (verdict.outcome is Outcome.REFUSED) == (says is not None)
    assert (says or "") in verdict.sentence


def test_a_letter_without_an_actor_takes_the_one_that_is_given() -> None:
    letter = DeadLetter(faulty(Reason.UNKNOWN_ACTOR, b"{}", ""))
    task = judge(letter, replace(AGAIN, actor="app:Late", lane=LANES[5]), 30.0).task
    assert task is not None
    assert (task.actor, task.lane) == ("app:Late", LANES[5])


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Wanted(), True),
        (Wanted(actor="Fit", reason=Reason.EXHAUSTED, tenant="lhcb", owner="ada", after=20.0, before=20.1), True),
        (Wanted(actor="app:Fit"), True),
        (Wanted(actor="Other"), False),
        (Wanted(reason=Reason.CRASHED), False),
        (Wanted(tenant="cms"), False),
        (Wanted(owner="bob"), False),
        (Wanted(after=20.1), False),
        (Wanted(before=20.0), False),
    ],
)
def test_a_filter_takes_what_agrees_in_all(wanted: Wanted, taken: bool) -> None:
    assert wanted.takes(dead()) is taken


@pytest.mark.parametrize(("replay_of", "kept"), [("older", True), (None, False)])
def test_a_replay_that_fails_again_is_a_dead_letter_whether_its_actor_is_eligible_or_not(replay_of, kept) -> None:
    task = Task("new", "app:Fit", LANE, b"{}", replay_of=replay_of)
    raised = Raised(1.0, 2.0, Failure("ValueError", "no"))
    done = failed_for_good(Delivery(task, b"", 1), Rules("app:Fit", LANE), "n", raised)
    assert ((done.letter is not None), done.replay_of) == (kept, replay_of)


async def test_a_rate_keeps_the_letters_apart_and_makes_nothing_up() -> None:
    clock = [0.0]
    starts = []

    async def sleep(seconds: float) -> None:
        clock[0] += seconds

    async def items():
        for item in range(5):
            yield item

    async for item in paced(items(), 4.0, lambda: clock[0], sleep):
        starts.append(clock[0])
        clock[0] += 10.0 if item == 2 else 0.0
    assert starts == [0.0, 0.25, 0.5, 10.5, 10.75]
