from natsume.databases import dispose_engines
from natsume.inject import make_plan
from natsume_examples.owners.tasks import SyncOwnersTask
from natsume_examples.pilots.db import PilotsDB


async def test_without_configuration_the_data_directory_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("NATSUME_DATA_DIR", str(tmp_path / "data"))
    await dispose_engines()
    monkeypatch.delenv(PilotsDB.url_variable())
    async with PilotsDB.transaction() as db:
        await db.create_tables()
        assert await db.elements("vo") == []
    assert (tmp_path / "data" / "pilotsdb.sqlite").exists()
    await dispose_engines()


def test_no_variable_is_required():
    assert make_plan("owners:SyncOwnersTask", SyncOwnersTask.execute).missing({}) == []
