"""`natsume relay`: publish what services committed into their outboxes until told to stop."""

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Annotated

import typer

from natsume.cli.session import new_app, session_of
from natsume.cli.signals import stop_on_signals
from natsume.exceptions import UsageError
from natsume.settings import Settings

_log = logging.getLogger(__name__)

app = new_app()


@app.command()
def relay(
    context: typer.Context,
    database: Annotated[
        list[str],
        typer.Option(
            envvar="NATSUME_OUTBOX_URL",
            help="URL of a database with an outbox; several times for several. Better in the environment if it holds a"
            " password.",
        ),
    ],
) -> None:
    """Publish what was committed into the outboxes of these databases; any number may run."""
    import uvloop  # noqa: PLC0415 - `--help` can do without

    session = session_of(context)
    session.log()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_relay(session.settings, database))


async def _relay(settings: Settings, urls: list[str]) -> None:
    from natsume.connecting import connect  # noqa: PLC0415 - `--help` need not load the broker
    from natsume.outbox import engine_at, require  # noqa: PLC0415 - nor SQLAlchemy
    from natsume.relay import relaying  # noqa: PLC0415

    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        engines = [engine_at(url) for url in urls]
        for engine in engines:
            stack.push_async_callback(engine.dispose)
            await require(engine)
        if not engines:
            raise UsageError("no database is named: use --database, or set NATSUME_OUTBOX_URL")
        client = await stack.enter_async_context(connect(settings=settings))
        for engine in engines:
            await stack.enter_async_context(relaying(engine, client))
        _log.info("relay ready", extra={"databases": len(engines)})
        await stop.wait()
    _log.info("relay stopped")
