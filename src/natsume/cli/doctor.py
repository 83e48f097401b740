"""`natsume doctor`: what is wrong, and what to do about it."""

import asyncio
from typing import Annotated

import msgspec
import typer

from natsume.actors.registry import Registry
from natsume.cli.actors import problems_of
from natsume.cli.session import new_app, session_of
from natsume.cli.table import AsJson, show_rows
from natsume.core.diagnosis import diagnose

app = new_app()


@app.command()
def doctor(
    context: typer.Context,
    monitor_url: Annotated[
        str | None, typer.Option(help="The server's monitoring; else port 8222 of the broker's host.")
    ] = None,
    ack_wait_s: Annotated[
        float | None, typer.Option(min=0.1, envvar="NATSUME_ACK_WAIT_S", help="What the lanes' ack_wait should be.")
    ] = None,
    window_s: Annotated[float, typer.Option(min=0.0, max=600.0, help="How long to watch a backlog for growth.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Look at the broker, the topology, the clock, the lanes and the actors; exit with 1 if anything is broken."""
    from natsume.cli.examine import examine  # noqa: PLC0415 - `--help` need not load the broker

    settings = session_of(context).settings
    problems = problems_of(Registry.load(settings.prefixes))
    looked = examine(settings, problems, monitor_url=monitor_url, ack_wait_s=ack_wait_s, window_s=window_s)
    findings = diagnose(asyncio.run(looked))
    show_rows([msgspec.to_builtins(finding) for finding in findings], as_json, "all is well")
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)
