"""The page of the limits is the one that the docstrings make."""

import limits_page

from natsume.model import limits, times


def test_the_page_is_as_the_source_says():
    assert limits_page.PAGE.read_text() == limits_page.rendered(), "run: python tests/docs/limits_page.py"


def test_no_bound_is_without_a_sentence():
    bounds = [name for name in (*vars(limits), *vars(times)) if name.isupper()]
    assert [name for name in bounds if f"| `{name}` |" not in limits_page.rendered()] == []
