"""What `submit` and `call` are given on the command line, made into a task before anything is sent."""

from typing import Annotated, Any

import msgspec
import typer

from natsume.actors.registry import Actor, Registry
from natsume.base_task import BaseTask

ActorName = Annotated[str, typer.Argument(metavar="GROUP:Name", help="The actor; its name alone if only one has it.")]
Args = Annotated[str | None, typer.Option("--args", metavar="JSON", help="A JSON list: arguments in order.")]
Kwargs = Annotated[str | None, typer.Option("--kwargs", metavar="JSON", help="A JSON object: arguments by name.")]


def make_task(registry: Registry, name: str, args: str | None, kwargs: str | None) -> tuple[Actor, BaseTask]:
    """The actor of this name and its task with these arguments; raises UsageError, or typer's for bad JSON."""
    positional = json_of(args, list, "--args", "a JSON list, such as '[1, \"two\"]'")
    named = json_of(kwargs, dict, "--kwargs", 'a JSON object, such as \'{"name": "value"}\'')
    actor = registry.find(name)
    return actor, actor.arguments.from_call(positional or [], named or {})


def labels_of(pairs: list[str] | None) -> dict[str, str]:
    """`key=value` pairs as a mapping."""
    labels = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{pair!r} is not key=value", param_hint="--label")
        labels[key] = value
    return labels


def json_of(text: str | None, kind: type, option: str, wanted: str) -> Any:
    """The value of an option, None where it is not given; raises typer's error for what is not of this kind."""
    if text is None:
        return None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise typer.BadParameter(f"it is not JSON ({error}); give {wanted}", param_hint=option) from None
    if not isinstance(value, kind):
        raise typer.BadParameter(f"give {wanted}", param_hint=option)
    return value
