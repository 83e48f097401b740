"""`natsume conductor`: turn commits into children and callbacks until told to stop."""

import asyncio
import logging
from typing import Annotated

import typer

from natsume.cli.parent import Parent
from natsume.cli.session import new_app, session_of
from natsume.cli.signals import stop_on_signals
from natsume.settings import Settings

_log = logging.getLogger(__name__)

app = new_app()


@app.command()
def conductor(
    context: typer.Context,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Turn commits into children and callbacks; any number may run, SIGTERM or Ctrl-C end one."""
    import uvloop  # noqa: PLC0415 - `--help` can do without

    session = session_of(context)
    session.log()
    parent = None if parent_fd is None else Parent(parent_fd)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_conduct(session.settings, parent))


async def _conduct(settings: Settings, parent: Parent | None) -> None:
    from natsume.compose.conductor import conducting  # noqa: PLC0415 - `--help` need not load the broker

    stop = stop_on_signals()
    async with conducting(settings):
        _log.info("conductor ready", extra={"conductor": settings.worker})
        if parent is not None:
            parent.ready()
        await stop.wait()
    _log.info("conductor stopped")
