"""Reads the values of options without pydantic, which typer would load for it: 70 ms and 12 MB a process."""

import math
from enum import Enum
from typing import Any, Final

import typer

_TRUE: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE: Final = frozenset({"0", "false", "f", "no", "n", "off", ""})
_NUMBERS: Final = {int: "a whole number", float: "a number"}


def lighten(params: list[Any]) -> list[Any]:
    """The parameters, those of a plain type to be read here; any other, or a typer that changed, reads its own."""
    for param in params:
        described = getattr(param, "type_descriptor", None)
        if described is None or getattr(described.parameter_info, "parser", None) is not None:
            continue
        if described.choices or described.annotation in {str, bool, int, float, list[str]}:
            param._runtime_param = Plain(described)
    return params


class Plain:
    """What typer asks for the value of one parameter."""

    def __init__(self, described: Any) -> None:
        self._type = str if described.annotation == list[str] else described.annotation
        self._choices = described.choices
        self._min = described.parameter_info.min
        self._max = described.parameter_info.max

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of a text, or of several; raises BadParameter with one sentence."""
        try:
            if param.multiple:
                return [self._one(part) for part in value or ()]
            return None if value is None else self._one(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from None

    def _one(self, value: Any) -> Any:
        if self._choices:
            return self._choice(value)
        if self._type is bool:
            return _truth(value)
        if self._type in _NUMBERS:
            return self._number(value)
        return value

    def _choice(self, value: Any) -> Any:
        known = {choice.value if isinstance(choice, Enum) else choice: choice for choice in self._choices}
        text = value.value if isinstance(value, Enum) else value
        if text not in known:
            raise ValueError(f"{text!r} is not one of {', '.join(map(repr, map(str, known)))}")
        return known[text]

    def _number(self, value: Any) -> Any:
        wanted = _NUMBERS[self._type] + self._range()
        number: Any
        try:
            number = self._type(value)
        except ValueError:
            raise ValueError(f"{value!r} is not {wanted}") from None
        low: Any = -math.inf if self._min is None else self._min
        high: Any = math.inf if self._max is None else self._max
        if not math.isfinite(number) or not low <= number <= high:
            raise ValueError(f"{value!r} is not {wanted}")
        return number

    def _range(self) -> str:
        if self._min is not None and self._max is not None:
            return f" from {self._min:g} to {self._max:g}"
        return f" of at least {self._min:g}" if self._min is not None else ""


def _truth(value: Any) -> bool:
    text = str(value).lower()
    if text not in _TRUE | _FALSE:
        raise ValueError(f"{value!r} is neither true nor false")
    return text in _TRUE
