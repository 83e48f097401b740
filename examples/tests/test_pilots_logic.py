import pytest

from natsume_examples.pilots import logic
from natsume_examples.pilots.logic import Element, Status


@pytest.mark.parametrize(
    ("capacity", "enabled", "active", "free"),
    [(3, True, 0, 3), (3, True, 2, 1), (3, True, 3, 0), (3, True, 5, 0), (3, False, 0, 0), (0, True, 0, 0)],
)
def test_free_slots(capacity, enabled, active, free):
    assert logic.free_slots(Element("vo", "ce", capacity, enabled=enabled), active) == free


def test_available_elements_are_those_with_free_slots():
    elements = [
        Element("vo", "a", 2),
        Element("vo", "b", 2),
        Element("vo", "c", 2, enabled=False),
        Element("vo", "d", 9),
    ]
    assert logic.available(elements, {"a": 1, "b": 2}) == {"a": 1, "d": 9}


@pytest.mark.parametrize(("rate", "draw", "taken"), [(1.0, 0.999, True), (0.0, 0.0, False), (0.5, 0.5, False)])
def test_an_element_takes_what_its_success_rate_says(rate, draw, taken):
    assert logic.accepts(Element("vo", "ce", 1, rate), draw) is taken


def test_a_pilot_never_goes_back_nor_skips():
    allowed = {(a, b) for a in Status for b in Status if logic.may_become(a, b)}
    assert allowed == {
        (Status.RESERVED, Status.SUBMITTED),
        (Status.RESERVED, Status.FAILED),
        (Status.SUBMITTED, Status.RUNNING),
        (Status.SUBMITTED, Status.FAILED),
        (Status.RUNNING, Status.DONE),
        (Status.RUNNING, Status.FAILED),
    }


def test_a_summary_names_every_status():
    assert logic.summary([Status.DONE, Status.DONE, Status.RUNNING]) == {
        Status.RESERVED: 0,
        Status.SUBMITTED: 0,
        Status.RUNNING: 1,
        Status.DONE: 2,
        Status.FAILED: 0,
    }
