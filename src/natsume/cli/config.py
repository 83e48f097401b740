"""`natsume config`: check a tasks file, apply it to the running system, show what is applied."""

import asyncio
import hashlib
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from natsume.cli.errors import Problems
from natsume.cli.session import new_app, session_of
from natsume.cli.table import AsJsonObject, show_one
from natsume.cli.who import who
from natsume.exceptions import UsageError
from natsume.model.config import Applied, TasksConfig, Unreadable
from natsume.settings import Settings

app = new_app("Check, apply and show the tasks file: schedules, retries and limits per task and VO.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="The tasks file: YAML, or TOML by its suffix.")]
AnyActor = Annotated[bool, typer.Option("--any-actor", help="Do not compare it with the actors installed here.")]


@app.command()
def check(context: typer.Context, file: File, any_actor: AnyActor = False) -> None:
    """Say what is wrong with a tasks file; nothing changes."""
    config = _checked(session_of(context).settings, file, any_actor)
    typer.echo(f"{file.name} is right: {_counted(config)}")


@app.command()
def apply(context: typer.Context, file: File, any_actor: AnyActor = False) -> None:
    """Let a tasks file hold for all workers and conductors that run, within a second."""
    settings = session_of(context).settings
    config = _checked(settings, file, any_actor)
    if asyncio.run(_apply(settings, config)):
        typer.echo(f"{file.name} is applied: {_counted(config)}")
    else:
        typer.echo(f"{file.name} was applied before; nothing to change")


@app.command()
def show(context: typer.Context, as_json: AsJsonObject = False) -> None:
    """Show what is applied, by whom and when."""
    applied = _readable(asyncio.run(_read(session_of(context).settings)))
    if applied is None:
        raise UsageError("no tasks file is applied; run `natsume config apply FILE`")
    config = msgspec.to_builtins(applied.config)
    row = {"who": applied.who, "at": applied.at, "hash": applied.hash, "config": config}
    if as_json:
        show_one(row, as_json)
        return
    import yaml  # noqa: PLC0415 - only here

    at = msgspec.to_builtins(_utc(applied.at))
    typer.echo(f"# applied by {applied.who} at {at}, {applied.hash}")
    typer.echo(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), nl=False)


def digest(config: TasksConfig) -> str:
    """The hash of a configuration's content, whatever the file's format and order."""
    return hashlib.blake2b(msgspec.json.encode(config, order="sorted"), digest_size=8).hexdigest()


def _checked(settings: Settings, file: Path, any_actor: bool) -> TasksConfig:
    from natsume.actors.registry import Registry  # noqa: PLC0415 - `show` needs no actors
    from natsume.config.tasks_check import misfits  # noqa: PLC0415
    from natsume.config.tasks_file import TasksFileError, read  # noqa: PLC0415

    try:
        config = read(file)
    except TasksFileError as error:
        raise Problems(error.sentences, "correct these first") from None
    if not any_actor:
        found = [f"{file.name}: {sentence}" for sentence in misfits(config, Registry.load(settings.prefixes))]
        if found:
            raise Problems(found, "correct these first, or use --any-actor for actors that are installed elsewhere")
    return config


async def _apply(settings: Settings, config: TasksConfig) -> bool:
    """Whether anything changed; UsageError if another applied a file at the same time."""
    from natsume.connected import connected  # noqa: PLC0415 - a wrong file is told without it

    async with connected(settings, name="natsume config") as broker:
        found, revision = await broker.config.read()
        standing = _readable(found)
        applied = Applied(config, who(), broker.now(), digest(config))
        if standing is not None and standing.hash == applied.hash:
            return False
        if await broker.config.put(applied, revision) is None:
            raise UsageError("another tasks file was applied at the same time; look at it with `natsume config show`")
        return True


async def _read(settings: Settings) -> Applied | Unreadable | None:
    from natsume.connected import connected  # noqa: PLC0415 - `--help` need not load the broker

    async with connected(settings, name="natsume config") as broker:
        applied, _ = await broker.config.read()
        return applied


def _readable(found: Applied | Unreadable | None) -> Applied | None:
    """What an older version must not show as nothing, nor replace."""
    if isinstance(found, Unreadable):
        raise UsageError(f"{found}; use the one that applied it, or remove it with `nats kv del config tasks`")
    return found


def _counted(config: TasksConfig) -> str:
    names = {*config.common, *(name for tasks in config.vo_overrides.values() for name in tasks)}
    return f"{len(names)} task{'s' * (len(names) != 1)}, {len(config.vos)} VO{'s' * (len(config.vos) != 1)}"


def _utc(at: float) -> Any:
    from datetime import UTC, datetime  # noqa: PLC0415 - only for people

    return datetime.fromtimestamp(at, UTC).replace(microsecond=0)
