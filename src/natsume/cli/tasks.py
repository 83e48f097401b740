"""`natsume tasks`: what the records say of a task."""

import asyncio
from typing import Annotated

import typer

from natsume.cli.following import Follower, await_end, cancel, comment
from natsume.cli.listing import asking, list_tasks
from natsume.cli.session import group_app, session_of
from natsume.cli.table import AsJsonObject, show_one
from natsume.cli.task_row import row_of
from natsume.model.status import Status
from natsume.model.strike import Strike, is_strike_name
from natsume.settings import Settings

app = group_app("List tasks, show what is known of one, wait for its end, comment or cancel it.")
app.command("ls")(list_tasks)
app.command("await")(await_end)
app.command()(cancel)
app.command()(comment)


@app.command()
def show(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="ID", help="The token that `submit` gave.")],
    follow: Annotated[bool, typer.Option("--follow", help="Tell what changes, until it has ended.")] = False,
    as_json: AsJsonObject = False,
) -> None:
    """Show the state of a task, its attempts, failures and result."""
    if follow:
        asyncio.run(Follower(row_of if as_json else None).run(session_of(context).settings, token))
        return
    status, strike = asyncio.run(_status(session_of(context).settings, token))
    show_one(row_of(status, strike), as_json)


async def _status(settings: Settings, token: str) -> tuple[Status, Strike | None]:
    """What is known of a task, and the strike for whose end it waits."""
    async with asking(settings) as (ledger, broker):
        status = await ledger.status(token)
        if status.waiting_for is not None and is_strike_name(status.waiting_for):
            return status, await broker.strikes.named(status.waiting_for)
        return status, None
