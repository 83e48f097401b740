"""Creates the tables of the examples: `python -m natsume_examples`."""

import asyncio
import sys

from natsume.databases import dispose_engines
from natsume_examples.owners.db import OwnersDB
from natsume_examples.owners.directory import Directory
from natsume_examples.pilots.db import PilotsDB


async def main() -> None:
    """Create what is missing, wherever the environment says that the tables are."""
    try:
        for database in (OwnersDB, Directory, PilotsDB):
            async with database.transaction() as db:
                await db.create_tables()
                url = db.engine.url.render_as_string(hide_password=True)
            sys.stdout.write(f"{', '.join(database.metadata.tables)}: in {url}\n")
    finally:
        await dispose_engines()


asyncio.run(main())
