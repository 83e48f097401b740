"""`natsume topology`: bring the broker's streams to what the files say, or see how they differ."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

import msgspec
import typer

from natsume.adapters.nats import topology
from natsume.adapters.nats.request import Request
from natsume.cli.session import requests_of
from natsume.cli.table import AsJson, show_rows

Row = dict[str, Any]
Command = Callable[[Request], Awaitable[list[Row]]]
RowsOf = Callable[[typer.Context, Command], list[Row]]
Connect = Callable[[typer.Context], AbstractAsyncContextManager[Request]]
"""Opens a connection as the command line says; main provides it."""

AckWait = Annotated[
    float | None,
    typer.Option(envvar="NATSUME_ACK_WAIT_S", min=1.0, help="Seconds until a dead worker's tasks return."),
]
Replicas = Annotated[int | None, typer.Option(min=1, max=5, help="Copies of each stream; default: as is.")]
Expected = Annotated[int | None, typer.Option(min=0, help="Tasks an hour that the broker must hold.")]
Budget = Annotated[int, typer.Option(min=1, help="Megabytes of broker memory for the records' ids.")]
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 if anything differs.")]


async def topology_apply(
    request: Request,
    *,
    ack_wait_s: float | None = None,
    replicas: int | None = None,
    expected_per_hour: int | None = None,
    memory_budget_mb: int = topology.MEMORY_BUDGET_MB,
) -> list[Row]:
    """Creates and updates; a row for each entity that changed."""
    changes = await topology.apply(
        request,
        ack_wait_s=ack_wait_s,
        replicas=replicas,
        expected_per_hour=expected_per_hour,
        memory_budget_mb=memory_budget_mb,
    )
    return [msgspec.to_builtins(change) for change in changes]


async def topology_diff(request: Request, *, ack_wait_s: float | None = None, replicas: int | None = None) -> list[Row]:
    """A row for each field that `topology_apply` would change; nothing changes."""
    found = await topology.diff(request, ack_wait_s=ack_wait_s, replicas=replicas)
    return [msgspec.to_builtins(difference) for difference in found]


async def topology_show(request: Request) -> list[Row]:
    """A row for each stream, bucket and consumer: what is in it and what waits."""
    return await topology.show(request)


def build(connect: Connect) -> typer.Typer:
    """The sub-commands, over connections that `connect` opens."""

    def rows_of(context: typer.Context, command: Command) -> list[Row]:
        async def connected() -> list[Row]:
            async with connect(context) as request:
                return await command(request)

        return asyncio.run(connected())

    app = typer.Typer(name="topology", help=__doc__, no_args_is_help=True)
    for add in (_add_apply, _add_diff, _add_show):
        add(app, rows_of)
    return app


def _add_apply(app: typer.Typer, rows_of: RowsOf) -> None:
    @app.command(help="Create what is missing and update what differs, or say why it cannot be done.")
    def apply(
        context: typer.Context,
        ack_wait_s: AckWait = None,
        replicas: Replicas = None,
        expected_per_hour: Expected = None,
        memory_budget_mb: Budget = topology.MEMORY_BUDGET_MB,
        as_json: AsJson = False,
    ) -> None:
        command = functools.partial(
            topology_apply,
            ack_wait_s=ack_wait_s,
            replicas=replicas,
            expected_per_hour=expected_per_hour,
            memory_budget_mb=memory_budget_mb,
        )
        show_rows(rows_of(context, command), as_json, "nothing to change")


def _add_diff(app: typer.Typer, rows_of: RowsOf) -> None:
    @app.command(help="List the fields that differ from the files; change nothing.")
    def diff(
        context: typer.Context,
        ack_wait_s: AckWait = None,
        replicas: Replicas = None,
        check: Check = False,
        as_json: AsJson = False,
    ) -> None:
        command = functools.partial(topology_diff, ack_wait_s=ack_wait_s, replicas=replicas)
        rows = rows_of(context, command)
        show_rows(rows, as_json, "no differences")
        if check and rows:
            raise typer.Exit(1)


def _add_show(app: typer.Typer, rows_of: RowsOf) -> None:
    @app.command(help="Show each stream, bucket and consumer, and what waits in it.")
    def show(context: typer.Context, as_json: AsJson = False) -> None:
        show_rows(rows_of(context, topology_show), as_json, "nothing is defined")


app = build(requests_of)
