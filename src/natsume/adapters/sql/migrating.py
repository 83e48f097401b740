"""Creates and upgrades the ledger's schema; safe in several processes at once."""

import logging
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from natsume.adapters.sql.engine import transaction
from natsume.exceptions import LedgerError

HEAD: Final = "0005"
"""The revision that this version works with; a test compares it with the newest of `migrations/`."""

VERSION_TABLE: Final = "natsume_version"
_SCRIPTS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = "natsume migrate"


async def revision(engine: AsyncEngine) -> str | None:
    """The schema's revision in the database; None where there is no schema."""
    async with transaction(engine) as connection:
        if not await connection.run_sync(lambda sync: inspect(sync).has_table(VERSION_TABLE)):
            return None
        return (await connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))).scalar()  # noqa: S608 - ours


async def migrate(engine: AsyncEngine) -> tuple[str | None, str]:
    """Bring the schema to this version; returns the revisions before and after."""
    before = await revision(engine)
    if before != HEAD:
        # Indexes of millions of rows take minutes, and a database that makes each by itself is not to stop between.
        async with transaction(engine, bounded=False) as connection:
            await connection.run_sync(_upgrade)
    return before, HEAD


async def require(engine: AsyncEngine) -> None:
    """Make sure that the schema is this version's: SQLite's is made so; raises LedgerError for others."""
    if engine.dialect.name == "sqlite":
        await migrate(engine)
        return
    found = await revision(engine)
    if found != HEAD:
        state = "has no schema" if found is None else f"has the schema {found}, and this version needs {HEAD}"
        raise LedgerError(f"the ledger's database {state}: run `natsume migrate`")


def _upgrade(connection: Connection) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command  # noqa: PLC0415 - needed once a version; it would cost each conductor's start
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    _lock(connection)
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise LedgerError(f"the ledger's schema is newer than this version: {error}; upgrade Natsume") from error
    finally:
        if connection.dialect.name != "sqlite":
            connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _LOCK})


def _lock(connection: Connection) -> None:
    """Let one process migrate at a time; the second finds nothing left to do."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif not connection.execute(text("SELECT GET_LOCK(:name, 20)"), {"name": _LOCK}).scalar():
        raise LedgerError("another process migrates the ledger's schema: wait for it, and run `natsume migrate` again")
