import asyncio
import sys

from natsume.actors.inject import make_plan
from natsume.databases import dispose_engines
from natsume_examples.owners.tasks import SyncOwnersTask
from natsume_examples.pilots.db import PilotsDB


async def test_without_configuration_the_data_directory_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("NATSUME_DATA_DIR", str(tmp_path / "data"))
    await dispose_engines()
    monkeypatch.delenv(PilotsDB.url_variable())
    async with PilotsDB.transaction() as db:
        assert await db.elements("vo") == []
    assert (tmp_path / "data" / "pilotsdb.sqlite").exists()
    await dispose_engines()


async def test_several_processes_may_create_the_tables_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv(PilotsDB.url_variable(), f"sqlite+aiosqlite:///{tmp_path}/shared.sqlite")

    async def look() -> str:
        code = "import asyncio\nfrom natsume_examples.pilots.db import PilotsDB as P\nasync def main():\n"
        code += " async with P.transaction() as db:\n  print(await db.elements('vo'))\nasyncio.run(main())"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        return (await process.communicate())[0].decode()

    assert await asyncio.gather(*(look() for _ in range(4))) == ["[]\n"] * 4


async def test_the_tables_are_created_by_hand_where_they_are_not_by_themselves():
    command = [sys.executable, "-m", "natsume_examples"]
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out = (await process.communicate())[0].decode()
        assert process.returncode == 0
        assert "compute_elements, pilot_submissions: in sqlite+aiosqlite:///" in out


def test_no_variable_is_required():
    assert make_plan("owners:SyncOwnersTask", SyncOwnersTask.execute).missing({}) == []
