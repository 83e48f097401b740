"""How much a worker asks for: never more than it has room for, and always a little of everything."""

from hypothesis import given
from hypothesis import strategies as st

from natsume.core.pick import ahead, pulls

counts = st.integers(0, 500)
lanes = st.tuples(counts, counts, counts)
flows = st.tuples(st.booleans(), st.booleans(), st.booleans())


@given(counts, counts, lanes, flows)
def test_the_sum_never_exceeds_the_room_but_for_one_standing_pull_per_lane(room, together, outstanding, flowing):
    asked = pulls(room, together, outstanding, flowing)
    floor = sum(1 for waiting in outstanding if waiting == 0)
    assert sum(asked) <= max(0, room + together - sum(outstanding)) + floor


@given(st.integers(1, 500), counts, lanes, flows)
def test_with_any_room_every_lane_has_a_pull_standing(room, together, outstanding, flowing):
    asked = pulls(room, together, outstanding, flowing)
    assert all(had + more >= 1 for had, more in zip(outstanding, asked, strict=True))


@given(st.integers(-500, 0), counts, lanes, flows)
def test_without_room_nothing_is_asked(room, together, outstanding, flowing):
    assert pulls(room, together, outstanding, flowing) == [0, 0, 0]


def test_idle_lanes_keep_nothing_that_was_for_tasks_which_run_together():
    """Else the one that flows would be asked for single tasks as soon as none gather."""
    asked = pulls(100, 1000, (0, 0, 0), (False, True, False))
    assert asked[0] + asked[2] <= 25
    assert pulls(100, 0, (asked[0], 0, asked[2]), (False, True, False))[1] >= 50


def test_a_lane_that_flows_gets_what_the_idle_ones_leave():
    idle = pulls(200, 0, (0, 0, 0), (False, False, False))
    assert idle == [25, 25, 25]
    assert pulls(175, 0, (25, 25, 0), (False, False, True))[2] >= 100


def test_a_worker_of_one_slot_asks_one_of_each_lane():
    assert pulls(1, 0, (0, 0, 0), (False, False, False)) == [1, 1, 1]


def test_long_tasks_are_not_buffered_and_short_ones_are():
    assert ahead(10, ended_per_s=2.0) == 0
    assert ahead(10, ended_per_s=2_000.0) == 10
    assert ahead(100, ended_per_s=1_000.0) == 20
