"""Arguments travel as a JSON object by name, and must fit the fields of the class."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import msgspec
import pydantic
import pytest

from natsume.actors.arguments import Arguments
from natsume.base_task import BaseTask
from natsume.exceptions import ArgumentsError, Unparsable, UsageError


@dataclasses.dataclass
class SyncOwnersTask(BaseTask):
    owner_name: str
    limit: int | None = None
    ratio: float | None = None
    extra: object = None


class Struct(BaseTask, msgspec.Struct):
    owner_name: str
    limit: int | None = None
    ratio: float | None = None


class Model(BaseTask, pydantic.BaseModel):
    owner_name: str
    limit: int | None = pydantic.Field(None, alias="lim")
    ratio: float | None = None


ARGUMENTS = [Arguments("owners:SyncOwnersTask", cls) for cls in (SyncOwnersTask, Struct, Model)]
EACH = pytest.mark.parametrize("arguments", ARGUMENTS, ids=["dataclass", "struct", "model"])


@EACH
def test_a_task_comes_back(arguments):
    task = arguments.from_call(["alice"], {"limit": 3})
    assert arguments.decode(arguments.check(task)) == task
    assert task.serialize()[:2] == ("alice", 3)


def test_the_path_of_what_does_not_fit_is_named():
    with pytest.raises(ArgumentsError) as error:
        ARGUMENTS[0].check(SyncOwnersTask(5))
    assert str(error.value) == "owners:SyncOwnersTask: expected str, got int at $.owner_name"


@EACH
def test_unknown_and_missing_names(arguments):
    with pytest.raises(ArgumentsError, match=r"unknown argument colour; it takes owner_name, limit"):
        arguments.decode(b'{"owner_name": "a", "colour": 1}')
    for body in (b"", b"null", b"{}"):
        with pytest.raises(ArgumentsError, match="missing argument owner_name"):
            arguments.decode(body)


@EACH
@pytest.mark.parametrize(
    "body",
    [b"[1]", b"x", b'"a"', b"[" * 9999, b'{"owner_name": "\xff"}', b'{"ratio": NaN}', b'{"limit": 1, oops'],
)
def test_what_is_no_json_object_is_unparsable(arguments, body):
    with pytest.raises(Unparsable):
        arguments.decode(body)


@EACH
def test_wrong_types_are_no_parse_error(arguments):
    with pytest.raises(ArgumentsError) as error:
        arguments.decode(b'{"owner_name": []}')
    assert not isinstance(error.value, Unparsable)


@EACH
def test_nan_is_not_silently_lost(arguments):
    with pytest.raises(ArgumentsError, match="NaN"):
        arguments.check(arguments.cls(owner_name="a", ratio=float("nan")))


@EACH
def test_sizes_are_bounded_both_ways(arguments):
    for act in (arguments.encode, lambda task: arguments.decode(b" " * 300_000)):
        with pytest.raises(ArgumentsError, match="more than 262144"):
            act(arguments.cls(owner_name="x" * 300_000))


def test_nesting_is_bounded():
    nest: list[object] = []
    for _ in range(70):
        nest = [nest]
    with pytest.raises(ArgumentsError, match="deeper than 64"):
        ARGUMENTS[0].encode(SyncOwnersTask("a", extra=nest))
    wide = SyncOwnersTask("a", extra=[["[[["]] * 500)
    assert ARGUMENTS[0].decode(ARGUMENTS[0].check(wide)) == wide


@pytest.mark.parametrize("extra", ["\ud800", object(), 1j, {1: {(2, 3): 4}}])
def test_what_json_cannot_hold(extra):
    with pytest.raises(ArgumentsError, match="cannot be written as JSON"):
        ARGUMENTS[0].encode(SyncOwnersTask("a", extra=extra))


def test_calls_are_checked_like_calls():
    with pytest.raises(ArgumentsError, match=r"takes owner_name.*: got 5 positional arguments"):
        ARGUMENTS[0].from_call([1, 2, 3, 4, 5], {})
    with pytest.raises(ArgumentsError, match="got owner_name twice"):
        ARGUMENTS[0].from_call(["a"], {"owner_name": "b"})


@dataclasses.dataclass
class Picky(BaseTask):
    even: int

    def __post_init__(self):
        if self.even % 2:
            raise LookupError("it is odd")


def test_what_the_class_itself_refuses():
    with pytest.raises(ArgumentsError, match="p:Picky: Picky refuses them: LookupError: it is odd"):
        Arguments("p:Picky", Picky).decode(b'{"even": 3}')


class Forgotten(BaseTask):
    kind: ClassVar[str] = "x"
    owner_name: str


def test_a_forgotten_decorator_is_named():
    with pytest.raises(UsageError, match=r"Forgotten declares owner_name .*add @dataclass"):
        Arguments("o:Forgotten", Forgotten)


class Tick(BaseTask):
    kind: ClassVar[str] = "x"


def test_a_class_without_fields_takes_no_arguments():
    arguments = Arguments("o:Tick", Tick)
    assert arguments.check(Tick()) == b"{}"
    assert isinstance(arguments.decode(b""), Tick)
    with pytest.raises(ArgumentsError, match="it takes no arguments"):
        arguments.decode(b'{"x": 1}')
