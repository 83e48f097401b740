"""`natsume strike`: stop an actor, or some of its tasks, while the system runs."""

import asyncio

import typer

from natsume.cli.session import new_app, session_of
from natsume.cli.strikes import Argument, StruckActor, given
from natsume.cli.who import AnyActor, MaybeWhy, reason, who
from natsume.core.striking import with_strike
from natsume.model.strike import Strike
from natsume.settings import Settings

app = new_app()


@app.command()
def strike(
    context: typer.Context, actor: StruckActor, why: MaybeWhy = None, arg: Argument = None, any_actor: AnyActor = False
) -> None:
    """Stop an actor, or its tasks with some argument values, on all workers within a second.

    Its tasks wait, in order, until `natsume unstrike`; nothing is lost, and no attempt is counted. What runs finishes.
    """
    text, session = reason(why), session_of(context)
    name, arguments = given(session, actor, arg, any_actor)
    struck = asyncio.run(_strike(session.settings, name, arguments, text))
    typer.echo(f"{struck.name} stands: its tasks wait until `natsume unstrike`")


async def _strike(settings: Settings, actor: str, arguments: dict[str, str], why: str) -> Strike:
    from natsume.connected import connected  # noqa: PLC0415 - a wrong strike is told without it

    async with connected(settings, name="natsume strike") as broker:
        struck = Strike(actor, who(), why, broker.now(), arguments)
        await broker.strikes.change(lambda standing: with_strike(standing, struck))
    return struck
