"""`natsume workers`: who runs tasks now, and of what."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import typer

from natsume.cli.session import group_app, session_of
from natsume.cli.table import AsJson, show_rows
from natsume.model.workers import WorkerState
from natsume.settings import Settings

app = group_app("List the workers that run now.")


@app.command("ls")
def list_workers(context: typer.Context, as_json: AsJson = False) -> None:
    """Ask all workers of this broker what they are; one whose event loop is blocked answers as well."""
    states, unread = asyncio.run(_ask(session_of(context).settings))
    show_rows([_row(state) for state in states], as_json, "no worker answers; start one with `natsume worker`")
    if unread:
        typer.echo(f"natsume: {unread} answers are of another version and are left out; see `nats micro ls`", err=True)


async def _ask(settings: Settings) -> tuple[list[WorkerState], int]:
    from natsume.adapters.nats.services import WireServices  # noqa: PLC0415 - `--help` need not load the broker
    from natsume.cli.looking import looking  # noqa: PLC0415

    async with looking(settings) as broker:
        return await WireServices(broker.wire).ask_all()


def _row(state: WorkerState) -> dict[str, Any]:
    return {
        "id": state.id,
        "host": state.host,
        "pid": state.pid,
        "size": state.size,
        "state": state.state,
        "slots": state.slots,
        "busy": state.busy,
        "in_hand": state.in_hand,
        "runs": sum(one.runs for one in state.actors),
        "failures": sum(one.failures for one in state.actors),
        "started": datetime.fromtimestamp(state.started, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "version": state.version,
    }
