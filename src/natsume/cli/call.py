"""`natsume call`: run an actor here and now."""

import asyncio
import os
from typing import Annotated, Literal

import typer

from natsume.actors.registry import Actor, Registry
from natsume.base_task import BaseTask
from natsume.cli.errors import Problems
from natsume.cli.given import ActorName, Args, Kwargs, make_task
from natsume.cli.session import new_app, session_of
from natsume.exceptions import BrokerError, UsageError
from natsume.results import JoinResults
from natsume.settings import Settings

Debugger = Literal["none", "before", "exception"]

app = new_app()


@app.command()
def call(
    context: typer.Context,
    actor: ActorName,
    args: Args = None,
    kwargs: Kwargs = None,
    debugger: Annotated[Debugger, typer.Option(help="Open pdb before execute(), or where it raised.")] = "none",
) -> None:
    """Run an actor here and now, in this process, and print its result as JSON.

    Limiters are skipped, locks are taken, no record is written. Without locks it needs no broker. Its timeout holds
    unless there is a debugger.
    """
    session = session_of(context)
    session.log()
    registry = Registry.load(session.settings.prefixes)
    found, task = make_task(registry, actor, args, kwargs)
    if found.plan.gives(JoinResults):
        raise UsageError(f"{found.name} asks for JoinResults, which only the callback of a join has; submit its group")
    missing = found.plan.missing(os.environ)
    if missing:
        raise Problems(missing, "`natsume actors check` lists them all")
    asyncio.run(_call(session.settings, registry, found, task, debugger))


async def _call(settings: Settings, registry: Registry, actor: Actor, task: BaseTask, debugger: Debugger) -> None:
    from natsume.cli.inline import Inline, Raised  # noqa: PLC0415 - wrong arguments are told without it

    async with Inline(settings, registry, actor, task) as inline:
        try:
            result = await inline.run(debugger)
        except Raised as error:
            if debugger == "exception" and error.__cause__ is not None:
                _post_mortem(error.__cause__)
            raise
        typer.echo(result.decode())
        try:
            await inline.send_children()
        except BrokerError as error:
            typer.echo(f"natsume: it succeeded, but its {inline.scheduled} children were not sent: {error}", err=True)


def _post_mortem(error: BaseException) -> None:
    import pdb  # noqa: PLC0415 - the person asked for it

    typer.echo(f"natsume: {type(error).__name__}: {error}", err=True)
    pdb.post_mortem(error.__traceback__)
