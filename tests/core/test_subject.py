"""Names in the broker are reversible, and each is one that the server takes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from natsume.model import subject
from natsume.model.subject import LANES

TOKEN = re.compile(r"[A-Za-z0-9_=-]+")
texts = some.text(some.characters(exclude_categories=["Cs"]))


@given(texts)
def test_a_token_is_reversible_and_legal(text: str) -> None:
    token = subject.encode(text)
    assert TOKEN.fullmatch(token)
    assert subject.decode(token) == text


@given(texts, texts)
def test_two_texts_never_share_a_token(one: str, other: str) -> None:
    assert (subject.encode(one) == subject.encode(other)) == (one == other)


@given(some.text("=0123456789ABCDEFabcdef.* >-_", max_size=12))
def test_a_token_that_nobody_writes_is_refused(token: str) -> None:
    try:
        text = subject.decode(token)
    except ValueError:
        return
    assert subject.encode(text) == token


@given(some.sampled_from(LANES), texts.filter(lambda text: ":" not in text), texts)
def test_a_ready_subject_names_its_lane_and_actor(lane: subject.Lane, group: str, name: str) -> None:
    ready = subject.ready(lane, f"{group}:{name}")
    assert ready.startswith(lane.filter.removesuffix(">"))
    assert subject.parse_ready(ready) == (lane, f"{group}:{name}")


@given(some.sampled_from(LANES), some.text("abc=.XYZ09*", max_size=20))
def test_any_subject_of_a_lane_can_be_parsed(lane: subject.Lane, rest: str) -> None:
    parsed, actor = subject.parse_ready(f"task.{lane}.{rest}")
    assert parsed == lane
    assert actor is None or ":" in actor


@given(some.lists(texts, min_size=1, max_size=3), some.lists(texts, min_size=1, max_size=3))
def test_two_locks_never_share_a_key(one: list[str], other: list[str]) -> None:
    assert (subject.lock_key(*one) == subject.lock_key(*other)) == (one == other)


def test_there_are_nine_lanes_by_unlike_names() -> None:
    assert len({lane.consumer for lane in LANES}) == len({lane.filter for lane in LANES}) == 9
    for lane in LANES:
        assert lane == f"{lane.priority}.{lane.size}"


@pytest.mark.parametrize("kind", ["plain", "effects", "dead"])
def test_one_fence_covers_every_class_of_done_record(kind: str) -> None:
    fence = subject.done_fence("t").replace(".", r"\.").replace("*", "[^.]+")
    assert re.fullmatch(fence, subject.done(kind, "t"))
    assert not re.fullmatch(fence, subject.done(kind, "tt"))


def test_no_two_facts_share_a_subject() -> None:
    names = [
        subject.done("plain", "t"),
        subject.failed(1, "t"),
        subject.failed(2, "t"),
        subject.started(1, "t"),
        subject.started(2, "t"),
        subject.submitted("t"),
        subject.later("t", 1),
        subject.later("t", 2),
    ]
    assert len(set(names)) == len(names)


def test_a_schedule_lies_on_no_lane() -> None:
    assert not any(subject.later("t", 1).startswith(lane.filter.removesuffix(">")) for lane in LANES)
