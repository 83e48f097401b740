"""A join: the same arrivals, in any order and any number of times, make the same join."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from natsume.core.join import Arrival, Join, JoinState, arrive, failure_is_due, is_due
from natsume.model.record import Child, When

CALLBACK = Child("callback", "g:Callback", "normal.small", b"{}")


def join(total: int, when: When = When.ALL_SUCCEEDED, on_failure: Child | None = None) -> Join:
    return Join("j", "p", 0, total, CALLBACK, 0.0, when=when, on_failure=on_failure)


def success(member: int) -> Arrival:
    return Arrival("j", member, succeeded=True)


def failure(member: int) -> Arrival:
    return Arrival("j", member, succeeded=False)


@given(st.integers(1, 70), st.randoms(use_true_random=False), st.integers(1, 4))
def test_it_is_due_after_all_members_whatever_the_order_and_the_repeats(total, random, repeats):
    arrivals = [success(member) for member in range(total)] * repeats
    random.shuffle(arrivals)
    last = {arrival.member: at for at, arrival in reversed(list(enumerate(arrivals)))}
    complete_at = max(last.values())
    waiting = join(total)
    for at, arrival in enumerate(arrivals):
        assert is_due(waiting) == (at > complete_at)
        waiting = arrive(waiting, [arrival])
    assert is_due(waiting)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=40), st.integers(1, 21))
def test_a_batch_is_the_same_as_one_by_one(seen, total):
    arrivals = [Arrival("j", member, succeeded=good) for member, good in seen]
    one_by_one = join(total)
    for arrival in arrivals:
        one_by_one = arrive(one_by_one, [arrival])
    assert arrive(join(total), arrivals) == one_by_one


@pytest.mark.parametrize("when", When)
def test_a_cancelled_one_counts_on_and_is_never_due(when):
    cancelled = replace(join(2, when), cancelled=True)
    assert cancelled.state is JoinState.CANCELLED
    complete = arrive(cancelled, [success(0), success(1)])
    assert (complete.arrived_count, is_due(complete), complete.state) == (2, False, JoinState.CANCELLED)
    assert not is_due(replace(join(0, when), cancelled=True))
    assert replace(complete, fired=True).state is JoinState.FIRED, "its callback was sent before"


def test_an_empty_group_is_due_at_once():
    assert is_due(join(0))


def test_a_fired_join_is_never_due_again():
    fired = arrive(Join("j", "p", 0, 1, CALLBACK, 0.0, fired=True), [success(0), success(0)])
    assert not is_due(fired)
    assert fired.state is JoinState.FIRED


def test_a_failed_member_blocks_it_and_its_replay_completes_it():
    blocked = arrive(join(2), [success(0), failure(1)])
    assert blocked.state is JoinState.BLOCKED
    assert not is_due(blocked)
    replayed = arrive(blocked, [success(1)])
    assert replayed.state is JoinState.OPEN
    assert is_due(replayed)


def test_a_late_failure_of_a_member_that_succeeded_changes_nothing():
    done = arrive(join(1), [success(0)])
    assert arrive(done, [failure(0)]) == done


def test_with_all_done_a_failed_member_counts_as_ended():
    ended = arrive(join(2, When.ALL_DONE), [failure(0), success(1)])
    assert ended.state is JoinState.OPEN
    assert is_due(ended)


def test_what_arrived_is_what_counts_so_that_a_due_join_shows_all_of_its_members():
    ends = [success(0), failure(1), failure(2)]
    counts = {when: arrive(join(3, when), ends) for when in When}
    assert {when: (one.arrived_count, one.failed_count, is_due(one)) for when, one in counts.items()} == {
        When.ALL_SUCCEEDED: (1, 2, False),
        When.ALL_DONE: (3, 2, True),
    }


def test_the_failure_callback_is_due_once_from_the_first_failure_on():
    waiting = join(3, on_failure=CALLBACK)
    assert not failure_is_due(waiting)
    failed = arrive(waiting, [failure(2)])
    assert failure_is_due(failed)
    told = Join("j", "p", 0, 3, CALLBACK, 0.0, failed=failed.failed, on_failure=CALLBACK, failure_told=True)
    assert not failure_is_due(told)


def test_a_member_that_cannot_be_counts_nowhere():
    assert arrive(join(2), [success(2), success(10**9), success(-1)]) == join(2)


def test_a_million_members_fit_a_value_of_the_bucket():
    many = arrive(join(1_000_000), [success(999_999)])
    assert len(many.arrived) == 125_000


def test_a_replay_that_succeeds_changes_nothing_for_a_join_that_counted_the_failure_as_an_end():
    ended = arrive(join(2, When.ALL_DONE), [success(0), failure(1)])
    assert is_due(ended)
    assert is_due(arrive(ended, [success(1)]))
    waiting = arrive(join(3, When.ALL_DONE), [failure(1), success(1), failure(1)])
    assert (waiting.arrived_count, waiting.failed_count, is_due(waiting)) == (1, 0, False)
    fired = arrive(replace(ended, fired=True), [success(1)])
    assert (is_due(fired), fired.state) == (False, JoinState.FIRED)


def test_where_the_replays_success_is_counted_first_there_is_no_failure_to_tell():
    alarmed = join(2, on_failure=CALLBACK)
    together = arrive(alarmed, [failure(1), success(1)])
    overtaken = arrive(arrive(alarmed, [success(1)]), [failure(1)])
    assert (failure_is_due(together), failure_is_due(overtaken)) == (False, False)
    told = replace(arrive(alarmed, [failure(1)]), failure_told=True)
    again = arrive(told, [failure(1), success(0)])
    assert (failure_is_due(again), is_due(again)) == (False, False)
    assert is_due(arrive(again, [success(1)]))
