"""What is said of a lane, as a table."""

import pytest

from natsume.core.lanes import LASTING_S, QUIET_S, Reading, judge, judge_effects
from natsume.enums import Priority, Size
from natsume.model.subject import LANES, Lane

OLD, YOUNG = LASTING_S + 1, LASTING_S - 1
REALTIME, NORMAL, BACKGROUND = (Lane(priority, Size.SMALL) for priority in Priority)
EMPTY = {lane: Reading() for lane in LANES}
SERVED = {"waiting_pulls": 1, "oldest_s": YOUNG}

TABLE = [
    ("nothing waits, nobody pulls", REALTIME, Reading(), {}, "ok"),
    ("any realtime backlog is bad", REALTIME, Reading(1, **SERVED), {}, "backlog"),
    ("a normal burst", NORMAL, Reading(1000, **SERVED), {}, "ok"),
    ("a normal backlog that lasts", NORMAL, Reading(1, waiting_pulls=1, oldest_s=OLD), {}, "lasting"),
    ("at the threshold it does not last yet", NORMAL, Reading(1, waiting_pulls=1, oldest_s=LASTING_S), {}, "ok"),
    ("a background backlog, however old", BACKGROUND, Reading(9, waiting_pulls=1, oldest_s=OLD), {}, "ok"),
    (
        "a background backlog that is worked off",
        BACKGROUND,
        Reading(8, waiting_pulls=1, oldest_s=OLD, pending_before=9, window_s=1),
        {},
        "ok",
    ),
    (
        "a background backlog that only grows",
        BACKGROUND,
        Reading(9, waiting_pulls=1, oldest_s=OLD, pending_before=8, window_s=1),
        {},
        "growing",
    ),
    (
        "a young background backlog that grows is a burst",
        BACKGROUND,
        Reading(9, waiting_pulls=1, oldest_s=YOUNG, pending_before=8, window_s=1),
        {},
        "ok",
    ),
    ("tasks and no pull at all", NORMAL, Reading(1, oldest_s=YOUNG), {}, "no worker"),
    ("no pull beats the priority", REALTIME, Reading(1, oldest_s=YOUNG), {}, "no worker"),
    ("a worker of the size is busy", NORMAL, Reading(1, 5, oldest_s=YOUNG, quiet_s=1), {}, "ok"),
    (
        "a worker of the size is busy with another lane",
        NORMAL,
        Reading(1, oldest_s=YOUNG),
        {REALTIME: Reading(in_flight=5, quiet_s=1)},
        "ok",
    ),
    ("a worker pulls another lane of the size", NORMAL, Reading(1, oldest_s=YOUNG), {REALTIME: Reading(0, 0, 1)}, "ok"),
    ("in hand, but nothing moves", NORMAL, Reading(1, 5, oldest_s=YOUNG, quiet_s=QUIET_S + 1), {}, "no worker"),
    (
        "a worker of another size does not help",
        NORMAL,
        Reading(1, oldest_s=YOUNG),
        {Lane(Priority.NORMAL, Size.LARGE): Reading(0, 5, 3, quiet_s=1)},
        "no worker",
    ),
]


@pytest.mark.parametrize(
    ("lane", "reading", "others", "word"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_a_lane_is_judged(lane, reading, others, word):
    judgement = judge(lane, EMPTY | others | {lane: reading})
    assert judgement.word == word, judgement
    assert judgement.sentence
    assert bool(judgement.advice) == (word != "ok")


def test_growth_says_what_was_compared():
    reading = Reading(9, waiting_pulls=1, oldest_s=OLD, pending_before=8, window_s=2)
    assert "8 pending, then 9 after 2 s" in judge(BACKGROUND, EMPTY | {BACKGROUND: reading}).sentence


@pytest.mark.parametrize(
    ("reading", "word"),
    [(Reading(), "ok"), (Reading(3, waiting_pulls=1), "ok"), (Reading(3), "no conductor"), (Reading(0, 3), "ok")],
)
def test_effects_are_judged(reading, word):
    assert judge_effects(reading).word == word
