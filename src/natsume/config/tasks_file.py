"""Reads the tasks file, and says in one sentence per error where it is wrong: `file: path is ...; do ...`."""

import tomllib
import types
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from natsume.config.tasks_check import inconsistencies, instead
from natsume.exceptions import UsageError
from natsume.model.config import TasksConfig
from natsume.model.limits import NEST_MAX

SIZE_MAX: Final = 1024 * 1024 - 4096
"""Bytes of a tasks file; its applied form must fit one value of the bucket."""


class TasksFileError(UsageError):
    """A tasks file is wrong; `sentences` holds one for each error."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences


def read(path: Path) -> TasksConfig:
    """The configuration in a YAML file, or in a TOML file by its suffix; raises TasksFileError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TasksFileError([f"{path} cannot be read: {error.strerror or error}"]) from None
    return parse(content, path.name)


def parse(content: bytes, name: str) -> TasksConfig:
    """The configuration in the bytes of a file of this name; raises TasksFileError."""
    if len(content) > SIZE_MAX:
        raise TasksFileError([f"{name} has {len(content)} bytes; at most {SIZE_MAX} can be applied"])
    found = _load(content, name)
    sentences = [f"{name}: {sentence}" for sentence in _wrong(found, TasksConfig, "")]
    if sentences:
        raise TasksFileError(sentences)
    try:
        config = msgspec.convert(found, TasksConfig, builtin_types=())
    except (msgspec.ValidationError, RecursionError) as error:
        raise TasksFileError([f"{name}: {error}"]) from None
    sentences = [f"{name}: {sentence}" for sentence in inconsistencies(config)]
    if sentences:
        raise TasksFileError(sentences)
    return msgspec.json.decode(msgspec.json.encode(config), type=TasksConfig)  # TOML's dates become text


class _Loader(yaml.SafeLoader):
    """YAML without dates, and without keys that stand twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, dict | list) or key in found:
            where = f"line {key_node.start_mark.line + 1}"
            raise yaml.YAMLError(f"the key {key!r} in {where} stands there twice or is no name")
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _load(content: bytes, name: str) -> object:
    try:
        if name.endswith(".toml"):
            return tomllib.loads(content.decode())
        found = yaml.load(content, _Loader)  # noqa: S506 - a safe loader's subclass
    except UnicodeDecodeError:
        raise TasksFileError([f"{name}: it is not UTF-8"]) from None
    except (yaml.YAMLError, tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        kind = "TOML" if name.endswith(".toml") else "YAML"
        raise TasksFileError([f"{name}: it is not {kind}: {' '.join(str(error).split())}"]) from None
    return {} if found is None else found


def _wrong(value: object, wanted: Any, path: str) -> Iterator[str]:
    """What is wrong with a value of the file, each with the path that leads to it."""
    here = path or "the file"
    wanted = _without_none(wanted)
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        if not isinstance(value, Mapping):
            yield f"{here} is {_shown(value)}; make it a mapping"
            return
        fields = _fields(wanted)
        for key, part in value.items():
            inner = f"{path}.{key}" if path else str(key)
            if key in fields:
                yield from _wrong(part, fields[key], inner)
            else:
                yield f"{inner} is no key; {instead(str(key), fields)}"
    elif get_origin(wanted) is dict and get_args(wanted)[1] is not Any:
        if not isinstance(value, Mapping):
            yield f"{here} is {_shown(value)}; make it a mapping"
            return
        for key, part in value.items():
            if not isinstance(key, str) or not key:
                yield f"{path}.{key} is no name; put it in quotes"
            else:
                yield from _wrong(part, get_args(wanted)[1], f"{path}.{key}")
    else:
        yield from _wrong_leaf(value, wanted, path)


def _wrong_leaf(value: object, wanted: Any, path: str) -> Iterator[str]:
    try:
        if _depth(value) > NEST_MAX:
            yield f"{path} nests deeper than {NEST_MAX}"
            return
        msgspec.convert(value, wanted)
        msgspec.json.encode(value)
    except msgspec.ValidationError as error:
        said: str = str(error).replace("`", "").removeprefix("Expected ").partition(", got ")[0].partition(" - at ")[0]
        yield f"{path} is {_shown(value)}; expected {said}"
    except (TypeError, ValueError, RecursionError) as error:
        yield f"{path} cannot be kept as JSON: {error}"


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level and depth <= NEST_MAX:
        depth += 1
        level = [
            part
            for one in level
            for part in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
        ]
    return depth


@cache
def _fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    hints = get_type_hints(struct, include_extras=True)
    return {field.encode_name: hints[field.name] for field in msgspec.structs.fields(struct)}


def _without_none(wanted: Any) -> Any:
    if get_origin(wanted) in {Union, types.UnionType}:
        return next(part for part in get_args(wanted) if part is not type(None))
    return wanted


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"


_SHOWN_MAX: Final = 60
