"""How much a worker asks for: never more than it has room for, and always a little of everything."""

from hypothesis import given
from hypothesis import strategies as st

from natsume.core.pick import ahead, pulls

counts = st.integers(0, 500)
lanes = st.tuples(counts, counts, counts)
flows = st.tuples(st.booleans(), st.booleans(), st.booleans())
NONE = (0, 0, 0)


@given(counts, lanes, lanes, flows)
def test_the_sum_never_exceeds_the_room_but_for_one_standing_pull_per_lane(room, together, outstanding, flowing):
    shared = sum(more for more, flows in zip(together, flowing, strict=True) if flows)
    asked = pulls(room, together, outstanding, flowing)
    charged = sum(min(waiting, max(1, room - 2 * max(1, room // 8))) for waiting in outstanding)
    floor = sum(1 for waiting in outstanding if waiting == 0)
    assert sum(asked) <= max(0, room - charged) + floor + shared


@given(st.integers(1, 500), lanes, lanes, flows)
def test_with_any_room_every_lane_has_a_pull_standing(room, together, outstanding, flowing):
    asked = pulls(room, together, outstanding, flowing)
    assert all(had + more >= 1 for had, more in zip(outstanding, asked, strict=True))


@given(st.integers(-500, 0), lanes, lanes, flows)
def test_without_room_nothing_is_asked(room, together, outstanding, flowing):
    assert pulls(room, together, outstanding, flowing) == [0, 0, 0]


@given(st.integers(1, 500), lanes, lanes, flows)
def test_what_may_share_slots_is_asked_of_its_own_lane_alone(room, together, outstanding, flowing):
    asked, alone = pulls(room, together, outstanding, flowing), pulls(room, (0, 0, 0), outstanding, flowing)
    more = [one - other for one, other in zip(asked, alone, strict=True)]
    assert all(one in {0, limit if flows else 0} for one, limit, flows in zip(more, together, flowing, strict=True))


@given(st.integers(8, 500), st.integers(0, 1000))
def test_what_does_not_come_is_no_loss_of_room_to_other_lanes(room, outstanding):
    """Else they would be asked for single tasks until those pulls have expired."""
    assert pulls(room, (0, 0, 0), (0, outstanding, 0), (True, False, False))[0] >= room // 8


def test_a_lane_that_flows_gets_what_the_idle_ones_leave():
    idle = pulls(200, NONE, (0, 0, 0), (False, False, False))
    assert idle == [25, 25, 25]
    assert pulls(175, NONE, (25, 25, 0), (False, False, True))[2] >= 100


def test_a_worker_of_one_slot_asks_one_of_each_lane():
    assert pulls(1, NONE, (0, 0, 0), (False, False, False)) == [1, 1, 1]


def test_long_tasks_are_not_buffered_and_short_ones_are():
    assert ahead(10, ended_per_s=2.0) == 0
    assert ahead(10, ended_per_s=2_000.0) == 10
    assert ahead(100, ended_per_s=1_000.0) == 20
