"""Which tasks a strike stops."""

import pytest

from natsume.core.striking import is_value, struck, with_strike, without_strike
from natsume.exceptions import UsageError
from natsume.model.limits import STRIKES_MAX
from natsume.model.strike import Strike, Strikes, is_strike, is_strike_name


def strike(**arguments: str) -> Strike:
    return Strike("t:A", "ada", "why", 1.0, arguments)


@pytest.mark.parametrize(
    ("value", "text", "same"),
    [
        ("7", "7", True),
        (7, "7", True),
        (7.0, "7", False),
        (True, "true", True),
        (True, "1", False),
        (None, "null", True),
        ("null", "null", True),
        ([1, "a"], '[1, "a"]', True),
        ({"b": 1, "a": 2}, '{"a":2,"b":1}', True),
        (7, "seven", False),
        ("lhcb", "lhc", False),
    ],
)
def test_a_value_is_meant_as_it_is_written(value, text, same):
    assert is_value(value, text) is same


def test_all_arguments_of_a_strike_must_be_so():
    asked = {"vo": "lhcb", "job": 7}
    assert struck([strike()], lambda: pytest.fail("nobody asked for them")) == strike()
    assert struck([strike(vo="lhcb")], lambda: asked) == strike(vo="lhcb")
    assert struck([strike(vo="lhcb", job="8")], lambda: asked) is None
    assert struck([strike(vo="x"), strike(job="7", vo="lhcb")], lambda: asked) == strike(job="7", vo="lhcb")
    assert struck([strike(nothing="x")], lambda: asked) is None


def test_one_strike_stands_on_the_same_tasks():
    found = with_strike(with_strike(None, strike(vo="a")), Strike("t:A", "bob", "again", 2.0, {"vo": "a"}))
    assert [one.who for one in found.strikes] == ["bob"]
    assert without_strike(found, strike(vo="a").key) == Strikes()
    assert strike(a="1", b="2").key == strike(b="2", a="1").key != strike(a="1").key
    assert strike(b="2", a="1").name == "strike:t:A(a=1,b=2)"
    assert (is_strike(strike().key), is_strike("mutex.job.7")) == (True, False)
    assert (is_strike_name(strike().name), is_strike_name("mutex:job:7")) == (True, False)
    full = Strikes(tuple(strike(n=str(n)) for n in range(STRIKES_MAX)))
    with pytest.raises(UsageError, match="strikes stand; end some"):
        with_strike(full, strike())
