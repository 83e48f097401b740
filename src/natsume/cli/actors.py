"""`natsume actors`: what is installed here, and what is wrong with it."""

import asyncio
import os
from typing import Annotated, Any, Final

import typer

from natsume.actors.registry import Actor, Registry
from natsume.cli.choosing import point
from natsume.cli.session import new_app, session_of
from natsume.cli.table import AsJson, show_rows
from natsume.exceptions import BrokerError
from natsume.model.ledger import Hunger, Resource
from natsume.model.strike import Strike, Strikes
from natsume.settings import Settings

_HUNGRY: Final = 5

app = new_app("List the actors of this installation, or check them.")


@app.command("ls")
def list_actors(
    context: typer.Context,
    by: Annotated[
        Resource | None, typer.Option(help="The five whose tasks took most of it instead, as the ledger knows.")
    ] = None,
    since: Annotated[
        str, typer.Option(help="With --by: of tasks that ended after a time (UTC if it names no zone), or an age.")
    ] = "1d",
    as_json: AsJson = False,
) -> None:
    """List the actors by name, and, if a broker answers, the strikes on them."""
    if by is not None:
        found = asyncio.run(_hungriest(session_of(context).settings, by, point(since, "--since") or 0.0))
        show_rows([_took(one) for one in found], as_json, f"the ledger knows no task that told its {by}")
        return
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


async def _hungriest(settings: Settings, by: Resource, since: float) -> list[Hunger]:
    from natsume.adapters.sql.asked import AskedLedger  # noqa: PLC0415 - `--help` need not load the ledger

    ledger = AskedLedger(settings)
    try:
        return await ledger.hungriest(by, since, _HUNGRY)
    finally:
        await ledger.close()


def _took(hunger: Hunger) -> dict[str, Any]:
    peak = hunger.memory_peak_bytes
    return {
        "actor": hunger.actor,
        "tasks": hunger.tasks,
        "wall_s": _rounded(hunger.wall_s),
        "wall_max_s": _rounded(hunger.wall_max_s),
        "cpu_s": _rounded(hunger.cpu_s),
        "cpu_max_s": _rounded(hunger.cpu_max_s),
        "memory_peak_mb": None if peak is None else round(peak / 2**20, 1),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


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
