"""What a task returns is kept as it was, or refused in a sentence: no value becomes another one."""

import math
from dataclasses import dataclass
from datetime import date

import msgspec
import pytest

from natsume import BaseTask
from natsume.actors.registry import Registry
from natsume.exceptions import UnretryableError, UsageError
from natsume.runtime.execute import encoded
from natsume.service.publishing import event_of


class Actor(BaseTask):
    async def execute(self) -> None: ...


ACTOR = Registry.of_classes({"g:Actor": Actor}).actors[0]


@dataclass
class Point:
    x: float
    label: str | None = None


class Struct(msgspec.Struct):
    x: float


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        -math.inf,
        [1.0, [None, math.nan]],
        {"a": (math.inf,)},
        {math.nan},
        Point(math.nan),
        [Struct(math.inf)],
        [msgspec.Raw(b"null"), math.nan],
    ],
)
def test_a_number_that_json_does_not_have_is_refused_wherever_it_is(value):
    with pytest.raises(UnretryableError, match=r"g:Actor: its result, .*NaN and infinities"):
        encoded(value, ACTOR)
    with pytest.raises(UsageError, match="NaN and infinities"):
        event_of("a.b", value, None, None, 0.0)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, b"null"),
        (1.5, b"1.5"),
        ("null", b'"null"'),
        (Point(0.5), b'{"x":0.5,"label":null}'),
        ({date(2026, 11, 21): None}, b'{"2026-11-21":null}'),
        ([msgspec.Raw(b'{"a": null}'), b"x", 2**63, None], b'[{"a": null},"eA==",9223372036854775808,null]'),
    ],
)
def test_all_else_stands_as_it_is(value, written):
    assert encoded(value, ACTOR) == written
