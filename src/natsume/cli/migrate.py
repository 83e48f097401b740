"""`natsume migrate`: bring the ledger's tables to this version."""

import asyncio

import typer

from natsume.cli.session import new_app, session_of
from natsume.cli.table import AsJsonObject, show_one
from natsume.settings import Settings

app = new_app()


@app.command()
def migrate(context: typer.Context, as_json: AsJsonObject = False) -> None:
    """Create or upgrade the ledger's tables in NATSUME_DATABASE_URL; a second time changes nothing."""
    database, before, after = asyncio.run(_migrate(session_of(context).settings))
    if as_json:
        show_one({"database": database, "before": before, "after": after}, as_json)
    elif before == after:
        typer.echo(f"the ledger in {database} is up to date (revision {after})")
    else:
        typer.echo(f"the ledger in {database} was {before or 'empty'}, and is now at revision {after}")


async def _migrate(settings: Settings) -> tuple[str, str | None, str]:
    from natsume.adapters.sql import migrating  # noqa: PLC0415 - `--help` need not load SQLAlchemy
    from natsume.adapters.sql.engine import engine_of  # noqa: PLC0415

    engine = engine_of(settings)
    try:
        return engine.url.render_as_string(hide_password=True), *await migrating.migrate(engine)
    finally:
        await engine.dispose()
