"""Databases for the ledger: SQLite, and a MariaDB of this session's own."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.settings import Settings
from private_mariadb import Mariadb, installed


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Mariadb]:
    """One for the session; who kills or freezes it brings it back."""
    if not installed():
        missing = "MariaDB is not installed here: apt-get install mariadb-server"
        if os.environ.get("CI"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="mariadb-") as folder:
        server = Mariadb(Path(folder))
        yield server
        server.kill()


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """A ledger without rows."""
    engine = engine_of(Settings(database_url=database_url))
    await migrating.migrate(engine)
    yield engine
    await engine.dispose()


@pytest.fixture(params=["sqlite", "mariadb"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/ledger.sqlite"
    make: Callable[[str], str] = request.getfixturevalue("mariadb").url
    return make(f"test_{uuid4().hex[:12]}")
