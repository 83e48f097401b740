"""The arguments of one actor: between a task, the fields of its class, and a JSON object by name."""

import re
from collections.abc import Mapping, Sequence

import msgspec

from natsume.actors.fields import encoder, loses_number, one_line, refuse_undecorated, shape_of
from natsume.base_task import BaseTask, field_names
from natsume.exceptions import ArgumentsError, Unparsable, UsageError
from natsume.model.limits import ARGUMENTS_MAX, NEST_MAX

_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_EMPTY = (b"", b"null")


class Arguments:
    """The codec of one task class; every input that is wrong raises `ArgumentsError`."""

    __slots__ = ("_shape", "actor", "cls", "names")

    def __init__(self, actor: str, cls: type[BaseTask]) -> None:
        self.actor = actor
        self.cls = cls
        self.names = field_names(cls)
        try:
            refuse_undecorated(cls)
            self._shape = shape_of(cls)
        except (NameError, TypeError, ValueError) as error:
            raise UsageError(f"{actor}: the fields of {cls.__name__} cannot be arguments: {error}") from error

    def encode(self, task: object) -> bytes:
        """The JSON object of a task's arguments; only what JSON cannot hold is refused."""
        if type(task) is not self.cls:
            raise ArgumentsError(f"{self.actor}: expected a {self.cls.__name__}, got {type(task).__name__}")
        try:
            body = self._shape.encode(task)
            # msgspec and pydantic write NaN as null, so that only a body with null can have lost one.
            if b"null" in body and loses_number(self._shape.values(task)):
                raise ValueError("NaN and infinities are no JSON numbers")
        except Exception as error:
            raise ArgumentsError(f"{self.actor}: the arguments cannot be written as JSON: {one_line(error)}") from error
        self._bound(body)
        return body

    def decode(self, body: bytes) -> BaseTask:
        """The task of a JSON object; an empty body is an empty object."""
        if len(body) > ARGUMENTS_MAX:
            self._bound(body)
        if body in _EMPTY:
            body = b"{}"
        try:
            task: BaseTask = self._shape.decode(body)
        except Exception as error:
            raise self._refusal(body, error) from error
        self._bound(body)
        return task

    def check(self, task: object) -> bytes:
        """The encoded arguments of a task, once they are known to fit its class."""
        body = self.encode(task)
        self.decode(body)
        return body

    def from_call(self, args: Sequence[object], kwargs: Mapping[str, object]) -> BaseTask:
        """The task that a call with these arguments would make."""
        takes = f"{self.actor} takes {self._takes()}"
        if len(args) > len(self.names):
            raise ArgumentsError(f"{takes}: got {len(args)} positional arguments")
        named = dict(zip(self.names, args, strict=False))
        for name in kwargs:
            if name in named:
                raise ArgumentsError(f"{takes}: got {name} twice, by position and by name")
        try:
            body = encoder.encode({**named, **kwargs})
        except Exception as error:
            raise ArgumentsError(f"{self.actor}: the arguments cannot be written as JSON: {one_line(error)}") from error
        return self.decode(body)

    def _takes(self) -> str:
        return ", ".join(self.names) or "no arguments"

    def _bound(self, body: bytes) -> None:
        if len(body) > ARGUMENTS_MAX:
            raise ArgumentsError(
                f"{self.actor}: the arguments have {len(body)} bytes, more than {ARGUMENTS_MAX}:"
                " keep large data elsewhere and pass its name"
            )
        if body.count(b"[") + body.count(b"{") > NEST_MAX and _too_deep(body):
            raise ArgumentsError(f"{self.actor}: the arguments nest deeper than {NEST_MAX}")

    def _refusal(self, body: bytes, error: Exception) -> ArgumentsError:
        try:
            content: object = msgspec.json.decode(body)
        except msgspec.ValidationError:
            content = {}  # a number out of range: JSON all the same
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as flaw:
            return Unparsable(f"{self.actor}: the arguments are not JSON: {one_line(flaw)}")
        if not isinstance(content, dict):
            return Unparsable(f"{self.actor}: expected a JSON object of arguments by name, got {_kind(content)}")
        reason = self._shape.reason(error)
        if reason is None:
            return ArgumentsError(f"{self.actor}: {self.cls.__name__} refuses them: {one_line(error)}")
        if reason.startswith("unknown argument"):
            reason = f"{reason}; it takes {self._takes()}"
        return ArgumentsError(f"{self.actor}: {reason}")


def _too_deep(body: bytes) -> bool:
    brackets = _TEXT.sub(b"", body).translate(_TO_SQUARE, _NO_BRACKET)
    for _ in range(NEST_MAX):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _kind(content: object) -> str:
    return {list: "an array", str: "a string", bool: "a boolean"}.get(type(content), "a number")
