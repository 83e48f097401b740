"""How the fields of a task class are written as a JSON object and read back, by kind of class."""

import dataclasses
import inspect
import math
import re
from pathlib import PurePath
from typing import Any, ClassVar, Protocol, get_origin, get_type_hints

import msgspec

from natsume.base_task import BaseTask, field_names, is_model


class Shape(Protocol):
    """How the fields of one kind of class are written and read; any exception is a refusal."""

    def encode(self, task: Any) -> bytes:
        """The JSON object of a task's fields."""

    def decode(self, body: bytes) -> Any:
        """The task of a JSON object that has its fields and no other."""

    def values(self, task: Any) -> object:
        """The task's values in plain containers, numbers as they are."""

    def reason(self, error: Exception) -> str | None:
        """What an error of `decode` says about the JSON; None if the class itself raised it."""


class _Mirror:
    """Dataclasses, msgspec structs and classes without fields, through a struct of the same fields.

    msgspec reads dataclasses by itself, but drops unknown fields and a __post_init__ error's type.
    """

    _WORDS: ClassVar = (
        (re.compile(r"^Object contains unknown field (\S+)$"), r"unknown argument \1"),
        (re.compile(r"^Object missing required field (\S+)$"), r"missing argument \1"),
        (re.compile(r" - at (?=\S+$)"), " at "),
    )

    def __init__(self, cls: type) -> None:
        hints = get_type_hints(cls, include_extras=True)
        for name, hint in hints.items():
            if isinstance(hint, dataclasses.InitVar):
                raise TypeError(f"{name} is an InitVar, which a task does not keep")
        self._cls = cls
        self._names = field_names(cls)
        fields = [(name, hints[name], _default(cls, name)) for name in self._names]
        mirror = msgspec.defstruct(cls.__name__, fields, forbid_unknown_fields=True, kw_only=True)
        self._decoder = msgspec.json.Decoder(mirror, dec_hook=_from_json)

    def encode(self, task: Any) -> bytes:
        return encoder.encode({name: getattr(task, name) for name in self._names})

    def decode(self, body: bytes) -> Any:
        return self._cls(**msgspec.structs.asdict(self._decoder.decode(body)))

    def values(self, task: Any) -> object:
        fields = {name: getattr(task, name) for name in self._names}
        return msgspec.to_builtins(fields, enc_hook=_to_json, str_keys=True)

    def reason(self, error: Exception) -> str | None:
        if not isinstance(error, msgspec.ValidationError):
            return None
        text = one_line(error, with_type=False).replace("`", "")
        for pattern, words in self._WORDS:
            text = pattern.sub(words, text)
        return _lower(text)


class _Model:
    """pydantic models; the model's own rules apply, but no unknown field passes."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        # pydantic's own parser takes NaN, which is not JSON.
        self._json = msgspec.json.Decoder(dict[str, msgspec.Raw])

    def encode(self, task: Any) -> bytes:
        text: str = task.model_dump_json(by_alias=False, round_trip=True, warnings="error")
        return text.encode()

    def decode(self, body: bytes) -> Any:
        self._json.decode(body)
        return self._cls.model_validate_json(body, extra="forbid", by_alias=False, by_name=True)

    def values(self, task: Any) -> object:
        return task.model_dump(round_trip=True)

    def reason(self, error: Exception) -> str | None:
        if not hasattr(error, "errors"):
            return None
        first = error.errors(include_url=False)[0]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        if len(first["loc"]) == 1 and first["type"] in {"extra_forbidden", "missing"}:
            return f"{'missing' if first['type'] == 'missing' else 'unknown'} argument {where[1:]}"
        text = " ".join(first["msg"].split())
        return f"{_lower(text)} at ${where}"


def shape_of(cls: type) -> Shape:
    """The shape of a task class; TypeError if its fields cannot be JSON."""
    return _Model(cls) if is_model(cls) else _Mirror(cls)


def _to_json(value: Any) -> object:
    """What msgspec writes for an object that it does not know."""
    if isinstance(value, PurePath):
        return str(value)
    if is_model(type(value)):
        dumped: object = value.model_dump(mode="json", round_trip=True)
        return dumped
    raise TypeError(f"objects of type {type(value).__name__} are not JSON")


def _from_json(cls: Any, value: Any) -> object:
    """What msgspec reads for a type that it does not know."""
    if cls is object:
        return value
    if is_model(cls):
        return cls.model_validate(value)
    if isinstance(cls, type) and issubclass(cls, PurePath) and isinstance(value, str):
        return cls(value)
    raise TypeError(f"JSON holds no {getattr(cls, '__name__', cls)}")


encoder = msgspec.json.Encoder(enc_hook=_to_json)
_encode = msgspec.json.Encoder().encode


def to_json(value: object) -> bytes:
    """What msgspec writes for a value; ValueError for NaN and infinities, of which it would make null."""
    body = _encode(value)
    # Only what has a null can have lost one. A msgspec.Raw is JSON already, and the only one that has no plain form.
    if b"null" in body and value is not None and loses_number(msgspec.to_builtins(value, enc_hook=lambda _raw: None)):
        raise ValueError("NaN and infinities are no JSON numbers")
    return body


def loses_number(value: object) -> bool:
    """Whether there is a number in these plain containers that JSON does not have."""
    if isinstance(value, dict):
        return any(map(loses_number, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(loses_number, value))
    return isinstance(value, float) and not math.isfinite(value)


def _default(cls: Any, name: str) -> Any:
    """The default of a field, made anew for each task."""
    if dataclasses.is_dataclass(cls):
        field: Any = next(field for field in dataclasses.fields(cls) if field.name == name)
        missing: object = dataclasses.MISSING
    else:
        field = next(field for field in msgspec.structs.fields(cls) if field.name == name)
        missing = msgspec.NODEFAULT
    if field.default_factory is not missing:
        return msgspec.field(default_factory=field.default_factory)
    if field.default is not missing:
        return msgspec.field(default_factory=lambda: field.default)
    return msgspec.field()


def refuse_undecorated(cls: type) -> None:
    """Refuse fields that nothing collects: TypeError if their class lacks its @dataclass."""
    if is_model(cls) or hasattr(cls, "__struct_fields__"):
        return
    for base in cls.__mro__[: cls.__mro__.index(BaseTask)]:
        # The bases that Natsume brings leave their fields to the dataclasses that derive from them.
        if base.__module__.startswith("natsume.") or "__dataclass_fields__" in vars(base):
            continue
        hints = get_type_hints(base, include_extras=True)
        own = {name: hints[name] for name in inspect.get_annotations(base)}
        fields = [name for name, hint in own.items() if ClassVar not in {hint, get_origin(hint)}]
        if fields:
            raise TypeError(f"{base.__name__} declares {', '.join(fields)} without a decorator: add @dataclass")


def _lower(sentence: str) -> str:
    """The sentence as the rest of another one."""
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() else sentence


def one_line(error: BaseException, *, with_type: bool = True) -> str:
    """An error's message on one line, after its type where that says more."""
    text = " ".join(str(error).split())
    if with_type and not isinstance(error, msgspec.MsgspecError):
        text = f"{type(error).__name__}: {text}"
    return text
