"""`natsume strikes`: what is stopped, by whom and why, and how much waits for it."""

import asyncio
from typing import Annotated, Any

import typer

from natsume.cli.session import Session, new_app, session_of
from natsume.cli.table import AsJson, show_rows
from natsume.cli.task_row import moment
from natsume.exceptions import UsageError
from natsume.model.config import Unreadable
from natsume.model.limits import STRUCK_VALUE_MAX
from natsume.model.strike import Strike
from natsume.settings import Settings

app = new_app()

StruckActor = Annotated[str, typer.Argument(metavar="ACTOR", help="GROUP:Name; its name alone if only one has it.")]
Argument = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Only tasks with this value; may be repeated, then all must be so."),
]


@app.command()
def strikes(context: typer.Context, as_json: AsJson = False) -> None:
    """List the strikes that stand, with the tasks that wait for their end."""
    rows = asyncio.run(_list(session_of(context).settings))
    show_rows(rows, as_json, "no strike stands")


def given(session: Session, actor: str, args: list[str] | None, any_actor: bool) -> tuple[str, dict[str, str]]:
    """The actor and the argument values that a person names, checked against what is installed here."""
    arguments: dict[str, str] = {}
    for pair in args or ():
        name, equals, value = pair.partition("=")
        if not name or not equals or not value.isprintable() or len(value) > STRUCK_VALUE_MAX:
            raise UsageError(f"--arg {pair!r} is not NAME=VALUE with at most {STRUCK_VALUE_MAX} printable characters")
        arguments[name] = value
    if any_actor:
        return actor, arguments
    from natsume.actors.registry import Registry  # noqa: PLC0415 - not for what is installed elsewhere
    from natsume.config.tasks_check import instead  # noqa: PLC0415

    found = Registry.load(session.settings.prefixes).find(actor)
    for name in arguments:
        if name not in found.arguments.names:
            raise UsageError(f"{name} is no argument of {found.name}; {instead(name, found.arguments.names)}")
    return found.name, arguments


async def _list(settings: Settings) -> list[dict[str, Any]]:
    from natsume.cli.looking import looking  # noqa: PLC0415 - `--help` need not load the broker

    async with looking(settings) as broker:
        found, _ = await broker.strikes.read()
        if isinstance(found, Unreadable):
            raise UsageError(str(found))
        standing = found.strikes if found is not None else ()
        waiters = [(await broker.locks.one(strike.key)).waiters for strike in standing]
    return [_row(strike, count) for strike, count in zip(standing, waiters, strict=True)]


def _row(strike: Strike, waiters: int) -> dict[str, Any]:
    return {
        "actor": strike.actor,
        "arguments": strike.arguments,
        "who": strike.who,
        "why": strike.why,
        "at": moment(strike.at),
        "waiters": waiters,
        "key": strike.key,
    }
