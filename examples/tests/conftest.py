"""Real SQLite files, a real broker, and luck that the test decides."""

from collections.abc import AsyncIterator, Iterator

import pytest

from natsume.actors.inject import overriding
from natsume.databases import dispose_engines
from natsume_examples.owners import tasks as owners
from natsume_examples.owners.db import OwnersDB
from natsume_examples.owners.directory import Directory
from natsume_examples.pilots import tasks as pilots
from natsume_examples.pilots.db import PilotsDB


@pytest.fixture
def natsume_registry():
    actors = (
        owners.SyncOwnersTask,
        owners.OwnerCleanupTask,
        owners.OwnerReportTask,
        pilots.MyPilotTask,
        pilots.MySubmitPilotsTask,
        pilots.MyCheckPilotsTask,
        pilots.MyPilotReportTask,
    )
    return {f"{actor.__module__.split('.')[1]}:{actor.__name__}": actor for actor in actors}


@pytest.fixture(autouse=True)
async def databases(tmp_path, monkeypatch) -> AsyncIterator[None]:
    for database in (OwnersDB, Directory, PilotsDB):
        url = f"sqlite+aiosqlite:///{tmp_path}/{database.__name__.lower()}.sqlite"
        monkeypatch.setenv(database.url_variable(), url)
    yield
    await dispose_engines()


@pytest.fixture
def draws() -> Iterator[list[float]]:
    """What the elements' luck will be, draw by draw."""
    draws: list[float] = []
    with overriding({pilots.chance: lambda: lambda: draws.pop(0)}):
        yield draws
