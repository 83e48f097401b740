"""`natsume unstrike`: end a strike, and let its tasks run."""

import asyncio

import typer

from natsume.cli.session import new_app, session_of
from natsume.cli.strikes import Argument, StruckActor, given
from natsume.core.striking import without_strike
from natsume.exceptions import UsageError
from natsume.model.config import Unreadable
from natsume.model.strike import Strike
from natsume.settings import Settings

app = new_app()


@app.command()
def unstrike(context: typer.Context, actor: StruckActor, arg: Argument = None) -> None:
    """End a strike, and send all that wait for it back to their lanes.

    Give the arguments that the strike was given. A command that was interrupted may be repeated: it sends the rest.
    """
    session = session_of(context)
    name, arguments = given(session, actor, arg, any_actor=True)
    ended, waited = asyncio.run(_unstrike(session.settings, Strike(name, "", "", 0.0, arguments)))
    typer.echo(f"{ended} is over: {waited} of its tasks waited and were sent back to their lanes")


async def _unstrike(settings: Settings, asked: Strike) -> tuple[str, int]:
    from natsume.connected import connected  # noqa: PLC0415 - `--help` need not load the broker

    async with connected(settings, name="natsume unstrike") as broker:
        standing, _ = await broker.strikes.read()
        if isinstance(standing, Unreadable):
            raise UsageError(str(standing))
        # One that is known here by its name alone.
        named = {strike.key: strike for strike in (standing.strikes if standing else ())}
        same = [strike for strike in named.values() if _means(asked, strike)]
        strike = named.get(asked.key) or (same[0] if len(same) == 1 else asked)
        waits = (await broker.locks.one(strike.key)).waiters
        if strike.key not in named and not waits:
            raise UsageError(f"there is no {asked.name}; `natsume strikes` lists those that stand")
        await broker.strikes.change(lambda found: without_strike(found, strike.key))
        await broker.leases.wake(strike.key)
    return strike.name, waits


def _means(asked: Strike, strike: Strike) -> bool:
    return strike.actor.partition(":")[2] == asked.actor and strike.arguments == asked.arguments
