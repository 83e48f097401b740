"""`natsume joins`: what waits for many tasks, how many arrived, which failed."""

import asyncio
from typing import Annotated, Any

import typer

from natsume.cli.session import new_app, session_of
from natsume.cli.settling import letters_of, link_row
from natsume.cli.table import AsJson, AsJsonObject, show_one, show_rows
from natsume.core.join import Join, JoinState
from natsume.exceptions import UnknownTask
from natsume.settings import Settings

app = new_app("List joins, or show one with the members that failed.")


@app.command("ls")
def list_joins(
    context: typer.Context,
    state: Annotated[JoinState | None, typer.Option(help="Only those in this state.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the joins, those that wait first."""
    joins = asyncio.run(_read(session_of(context).settings, None))
    chosen = [join for join in joins if state in {None, join.state}]
    chosen.sort(key=lambda join: (join.fired or join.cancelled, join.opened_at))
    show_rows([_row(join) for join in chosen], as_json, "there is no join")


@app.command()
def show(
    context: typer.Context, join_id: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJsonObject = False
) -> None:
    """Show one join, with the members that failed for good and what became of them."""
    settings = session_of(context).settings
    joins = asyncio.run(_read(settings, join_id))
    if not joins:
        raise UnknownTask(
            f"there is no join {join_id!r}: it never was, or it went after its callback; `natsume joins ls` lists them"
        )
    (join,) = joins
    failed = join.failed_ids()
    more = {"failed_members": failed, "replays": asyncio.run(_replays(settings, failed)), "opened_at": join.opened_at}
    show_one(_row(join) | more, as_json)


async def _replays(settings: Settings, members: list[str]) -> list[dict[str, Any]]:
    """What was decided on these members and on their replays."""
    async with letters_of(settings) as (letters, _):
        chains = await letters.chains(members)
    return [{"member": member} | link_row(link) for member, chain in chains.items() for link in chain]


async def _read(settings: Settings, join_id: str | None) -> list[Join]:
    from natsume.adapters.nats.joins import list_ids  # noqa: PLC0415 - `--help` need not load the broker
    from natsume.cli.looking import looking  # noqa: PLC0415

    async with looking(settings) as broker:
        ids = await list_ids(broker.stream_info) if join_id is None else [join_id]
        return [join for join, _ in (await broker.joins.read(ids)).values()]


def _row(join: Join) -> dict[str, Any]:
    return {
        "id": join.id,
        "state": join.state.value,
        "total": join.total,
        "arrived": join.arrived_count,
        "failed": join.failed_count,
        "callback": join.callback.actor,
        "parent": join.parent,
    }
