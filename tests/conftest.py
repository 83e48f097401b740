"""Databases for the ledger: SQLite, and a MariaDB of this session's own."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

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


@pytest.fixture(params=["sqlite", "mariadb"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/ledger.sqlite"
    make: Callable[[str], str] = request.getfixturevalue("mariadb").url
    return make(f"test_{uuid4().hex[:12]}")
