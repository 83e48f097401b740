"""Traits never rule out what a task has."""

from hypothesis import given
from hypothesis import strategies as st

from natsume.core.traits import BITS, PRESENT, labelled, present, trait, traits

rows = st.dictionaries(st.sampled_from(("actor", "owner", "tenant", *PRESENT)), st.none() | st.text(max_size=20))


@given(rows, rows)
def test_a_task_has_the_traits_of_each_value_that_was_ever_told(told, later):
    found = traits(told) | traits(later)
    assert 0 <= found < 1 << BITS
    for name, value in (told | later).items():
        if value is not None:
            assert found & trait(name, value) == trait(name, value)


@given(rows)
def test_what_a_task_has_none_of_is_seen(row):
    for name in PRESENT:
        assert bool(traits(row) & (present(name) or 0)) is (row.get(name) is not None)


def test_few_tasks_have_the_traits_of_a_value_by_chance():
    wanted = trait("actor", "g:A")
    row = {"actor": "g:B", "tenant": "lhcb", "owner": "ada", "worker": "w"}
    others = [traits(row | {"parent": f"p{number}", "root": f"r{number}"}) for number in range(1000)]
    assert sum(one & wanted == wanted for one in others) < 100


@given(st.text(max_size=20), st.text(max_size=20))
def test_labels_fit_a_column(name, value):
    assert 0 < labelled(name, value) < 1 << BITS
