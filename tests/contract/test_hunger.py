"""The hungriest actors, added up by each database from the tasks that ended in a span of time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.adapters.sql.hunger import hungriest
from natsume.adapters.sql.ledger import SqlLedger
from natsume.core.projection import Changes, project
from natsume.model.ledger import Hunger, Resource
from natsume.model.record import Used
from natsume.settings import Settings
from recorded import done

MB = 2**20


def ended(number: int, actor: str, wall_s: float, used: Used | None, at: float = 1000.0) -> tuple[str, bytes]:
    subject, body = done(f"t{number}", started_at=at, finished_at=at + wall_s, used=used)
    return subject, body.replace(b'"g:A"', f'"{actor}"'.encode())


@pytest.fixture
async def filled(database_url):
    engine = engine_of(Settings(database_url=database_url))
    await migrating.migrate(engine)
    records = [
        ended(0, "g:Fat", 1.0, Used(1.0, 0.1, 900 * MB)),
        ended(1, "g:Fat", 1.0, Used(1.0, 0.1, 10 * MB)),
        ended(2, "g:Hot", 3.0, Used(3.0, 2.5, 20 * MB)),
        *(ended(10 + number, "g:Often", 0.5, Used(0.5, 0.4, None)) for number in range(10)),
        ended(3, "g:Mute", 4.0, None),
        ended(4, "g:Old", 50.0, Used(50.0, 50.0, 5000 * MB), at=10.0),
        *(ended(30 + number, f"g:Small{number}", 0.001, Used(0.001, 0.001, MB)) for number in range(6)),
    ]
    await SqlLedger(engine).project(Changes(project(records).rows, [], []), "b", 1)
    yield engine
    await engine.dispose()


async def names(engine, by):
    return [one.actor for one in await hungriest(engine, by, 900.0, 5)]


async def test_by_memory_the_highest_peak_comes_first(filled):
    assert (await names(filled, Resource.MEMORY))[:2] == ["g:Fat", "g:Hot"]
    assert "g:Often" not in await names(filled, Resource.MEMORY)


async def test_by_time_what_all_tasks_took_together(filled):
    assert (await names(filled, Resource.CPU))[:3] == ["g:Often", "g:Hot", "g:Fat"]
    assert (await names(filled, Resource.WALL))[:4] == ["g:Often", "g:Mute", "g:Hot", "g:Fat"]
    (often, *_) = await hungriest(filled, Resource.WALL, 900.0, 5)
    assert often.memory_peak_bytes is None
    assert (often.tasks, round(often.wall_s, 3), round(often.wall_max_s, 3)) == (10, 5.0, 0.5)
    assert (round(often.cpu_s, 3), round(often.cpu_max_s, 3)) == (4.0, 0.4)


async def test_at_most_so_many_and_only_of_the_span(filled):
    found = await hungriest(filled, Resource.WALL, 0.0, 5)
    assert len(found) == 5
    assert isinstance(found[0], Hunger)
    assert found[0].actor == "g:Old"


async def test_the_command_prints_the_five_hungriest(filled, database_url):
    command = [
        Path(sys.executable).with_name("natsume"),
        "actors",
        "ls",
        "--by",
        "memory",
        "--since",
        "1970-01-01",
        "--json",
    ]
    ran = subprocess.run(
        command,
        env={"NATSUME_DATABASE_URL": database_url, "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout)
    assert len(rows) == 5
    assert rows[1] == {
        "actor": "g:Fat",
        "tasks": 2,
        "wall_s": 2.0,
        "wall_max_s": 1.0,
        "cpu_s": 0.2,
        "cpu_max_s": 0.1,
        "memory_peak_mb": 900.0,
    }
