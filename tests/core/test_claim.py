"""What makes two tasks the same, and what a submission does about a claim that it meets."""

import pytest
from msgspec.structs import replace

from natsume import Unique, UsageError
from natsume.core.claim import Answer, answer, key_of
from natsume.enums import Priority, Size
from natsume.model.claim import Claim, unique_of
from natsume.model.subject import Lane, is_id
from natsume.model.task import State, Task
from natsume.service.submission import submitted_of

TASK = Task("one", "shop.eu:Ship", Lane(Priority.NORMAL, Size.SMALL), b'{"order":7,"to":{"b":1,"a":2}}')
BY_ARGS, BY_ID = Unique(), Unique(by="id")


@pytest.mark.parametrize(
    ("change", "unique", "same"),
    [
        ({"id": "two"}, BY_ARGS, True),
        ({"body": b'{"to": {"a": 2, "b": 1}, "order": 7}'}, BY_ARGS, True),
        ({"body": b'{"order":8,"to":{"b":1,"a":2}}'}, BY_ARGS, False),
        ({"actor": "shop.eu:Bill"}, BY_ARGS, False),
        ({"tenant": "lhcb"}, BY_ARGS, False),
        ({"owner": "ada"}, BY_ARGS, True),
        ({"id": "two"}, BY_ID, False),
        ({"body": b"{}"}, BY_ID, True),
    ],
)
def test_what_counts_as_the_same_task(change, unique, same):
    key = key_of(TASK, unique)
    assert (key_of(replace(TASK, **change), unique) == key) is same
    assert is_id(key)
    assert key.startswith("shop=2Eeu=3AShip-")


def test_args_and_id_share_no_key():
    assert key_of(TASK, BY_ARGS) != key_of(TASK, BY_ID)


@pytest.mark.parametrize(
    ("nonce", "period_s", "holder", "told"),
    [
        ("ours", None, None, Answer.OURS),
        ("ours", 5.0, State.COMPLETED, Answer.OURS),
        ("other", None, None, Answer.HELP),
        ("other", None, State.ALLOCATED, Answer.HELP),
        ("other", None, State.ENQUEUED, Answer.HELP),
        ("other", 5.0, State.ENQUEUED, Answer.HELP),
        ("other", None, State.RUNNING, Answer.HELD),
        ("other", None, State.WAITING, Answer.HELD),
        ("other", None, State.COMPLETED, Answer.FREE),
        ("other", None, State.FAILED, Answer.FREE),
        ("other", None, State.CANCELLED, Answer.FREE),
        ("other", None, State.DROPPED, Answer.FREE),
        ("other", 5.0, State.COMPLETED, Answer.HELD),
        ("other", 5.0, State.FAILED, Answer.HELD),
    ],
)
def test_what_a_submission_does_about_a_claim(nonce, period_s, holder, told):
    claim = Claim(nonce, submitted_of(TASK, 1.0), None, period_s)
    assert answer(claim, "ours", holder) is told


@pytest.mark.parametrize("wrong", [{"by": "name"}, {"period_s": 0.5}, {"period_s": float("nan")}, {"period_s": -1}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(UsageError, match=r"cannot be; use"):
        Unique(**wrong)


def test_what_a_submission_may_say_of_its_place():
    assert [unique_of(given) for given in (None, Unique(period_s=5), "args", "id")] == [
        None,
        Unique(period_s=5),
        Unique(),
        Unique(by="id"),
    ]
    for wrong in (True, "name", 5, {"by": "id"}, []):
        with pytest.raises(UsageError, match=r"unique=.* cannot be; use Unique\(\)"):
            unique_of(wrong)
