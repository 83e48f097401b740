"""`natsume actors`: what is installed here, and what is wrong with it."""

import asyncio
import os
from typing import Any

import typer

from natsume.cli.session import new_app, session_of
from natsume.cli.table import AsJson, show_rows
from natsume.exceptions import BrokerError
from natsume.model.strike import Strike, Strikes
from natsume.registry import Actor, Registry
from natsume.settings import Settings

app = new_app("List the actors of this installation, or check them.")


@app.command("ls")
def list_actors(context: typer.Context, as_json: AsJson = False) -> None:
    """List the actors by name, and, if a broker answers, the strikes on them."""
    registry = Registry.load(session_of(context).settings.prefixes)
    strikes = asyncio.run(_strikes(session_of(context).settings)) if registry.actors else None
    show_rows([_row(actor, strikes) for actor in registry.actors], as_json, "no actor is installed")
    if registry.problems:
        typer.echo(f"natsume: {len(registry.problems)} more cannot be used; see `natsume actors check`", err=True)


@app.command()
def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Load every entry point and name what is wrong; exit with 1 if anything is."""
    registry = Registry.load(session_of(context).settings.prefixes)
    found = problems_of(registry)
    show_rows([{"problem": sentence} for sentence in found], as_json, f"all {len(registry.actors)} actors are good")
    if found:
        raise typer.Exit(1)


def problems_of(registry: Registry) -> list[str]:
    """All that would keep a worker here from running some actor, a sentence each."""
    missing = [sentence for actor in registry.actors for sentence in actor.plan.missing(os.environ)]
    return [*registry.problems, *missing]


async def _strikes(settings: Settings) -> tuple[Strike, ...] | None:
    """Those that stand; None where that cannot be seen."""
    from natsume.cli.looking import looking  # noqa: PLC0415 - `--help` need not load the broker

    try:
        async with looking(settings) as broker:
            found, _ = await broker.strikes.read()
    except BrokerError:
        return None
    return found.strikes if isinstance(found, Strikes) else None if found is not None else ()


def _row(actor: Actor, strikes: tuple[Strike, ...] | None) -> dict[str, Any]:
    return {
        "actor": actor.name,
        "lane": str(actor.lane),
        "class": f"{actor.cls.__module__}:{actor.cls.__qualname__}",
        "arguments": list(actor.arguments.names),
        "retry": type(actor.retry_policy).__name__,
        "dlq_eligible": actor.dlq_eligible,
        "timeout_s": actor.timeout_s,
        "struck": None if strikes is None else [str(one) for one in strikes if one.actor == actor.name],
    }
