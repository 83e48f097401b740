"""Whatever a typed task holds comes back equal; whatever bytes arrive raise nothing but ArgumentsError."""

import contextlib
import dataclasses
import enum
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as some

from natsume.actors.arguments import Arguments
from natsume.base_task import BaseTask
from natsume.exceptions import ArgumentsError


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: float


@dataclasses.dataclass
class Everything(BaseTask):
    text: str
    number: int
    ratio: float
    flag: bool
    raw: bytes
    at: datetime
    day: date
    lasting: timedelta
    ident: uuid.UUID
    price: Decimal
    colour: Colour
    pair: tuple[int, str]
    names: set[str]
    points: list[Point]
    table: dict[str, list[int]]
    maybe: Point | None = None


TEXT = some.text(some.characters(exclude_categories=["Cs"]))
FINITE = some.floats(allow_nan=False, allow_infinity=False)
POINT = some.builds(Point, some.integers(-(2**63), 2**63), FINITE)
TASKS = some.builds(
    Everything,
    text=TEXT,
    number=some.integers(-(2**63), 2**63),
    ratio=FINITE,
    raw=some.binary(),
    at=some.datetimes(timezones=some.just(UTC)),
    lasting=some.timedeltas(timedelta(-(10**6)), timedelta(10**6)),
    price=some.decimals(allow_nan=False, allow_infinity=False),
    pair=some.tuples(some.integers(-100, 100), TEXT),
    names=some.sets(TEXT),
    points=some.lists(POINT),
    table=some.dictionaries(TEXT, some.lists(some.integers(-100, 100))),
    maybe=some.none() | POINT,
)
ARGUMENTS = Arguments("x:Everything", Everything)
JSON = some.recursive(
    some.none() | some.booleans() | FINITE | TEXT, lambda inner: some.lists(inner) | some.dictionaries(TEXT, inner)
)


@given(TASKS)
def test_round_trip(task):
    assert ARGUMENTS.decode(ARGUMENTS.check(task)) == task


@given(some.binary() | JSON.map(msgspec.json.encode))
def test_any_bytes(body):
    with contextlib.suppress(ArgumentsError):
        ARGUMENTS.decode(body)


@given(some.dictionaries(some.sampled_from(["text", "number", "at", "points", "maybe", "other"]), JSON))
def test_any_object(fields):
    with contextlib.suppress(ArgumentsError):
        ARGUMENTS.from_call([], fields)
