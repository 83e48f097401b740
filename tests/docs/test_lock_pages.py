"""What the pages on locks say: their code runs, a late booking is refused, and no field or header is missing."""

# ruff: noqa: PLC0415 - what is imported late is written by a fixture first

import re
import sys
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from natsume.actors.registry import Registry
from natsume.adapters.nats import line
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.exceptions import Fenced
from natsume.model.lock import Holding

DOCS = Path(__file__).parents[2] / "docs"
FILE = re.compile(r"```python\n# (\S+\.py)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The files that the pages name, importable."""
    root = tmp_path_factory.mktemp("locks")
    for page in ("choose-a-lock.md", "fence-your-writes.md"):
        for name, code in FILE.findall((DOCS / "howto" / page).read_text()):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(code)
    sys.path.insert(0, str(root))
    yield
    sys.path.remove(str(root))


async def test_each_kind_of_lock_is_taken(package, natsume_broker, natsume_settings):
    from catalogue.tasks import Count, Merge, Migrate, Publish

    registry = Registry.of_classes({f"catalogue:{cls.__name__}": cls for cls in (Count, Merge, Migrate, Publish)})
    async with working(natsume_settings, registry), connect(settings=natsume_settings, registry=registry) as client:
        tasks = [Count("d"), Count("d"), Merge("d", "cern"), Migrate("d"), Publish("d")]
        results = [await client.result(token) for token in await client.submit_many(tasks)]
    assert results == ["counted d", "counted d", "merged d", "migrated d", "published d"]


async def test_a_late_booking_is_refused(package, natsume_broker, natsume_settings, monkeypatch, tmp_path):
    monkeypatch.setenv("NATSUME_DB_URL_ACCOUNTS_DB", f"sqlite+aiosqlite:///{tmp_path}/accounts.db")
    from accounts.tables import accounts
    from accounts.tasks import AccountsDB, Book, BookInside

    async with AccountsDB.transaction() as db:
        await db.conn.run_sync(accounts.metadata.create_all)
        await db.conn.execute(insert(accounts).values(name="ada", balance=10))
    registry = Registry.of_classes({"accounts:Book": Book, "accounts:BookInside": BookInside})
    async with working(natsume_settings, registry), connect(settings=natsume_settings, registry=registry) as client:
        for task in (Book("ada", 5), BookInside("ada", 7)):
            await client.result(await client.submit(task))
        async with AccountsDB.transaction() as db:
            balance, fence = (await db.conn.execute(select(accounts.c.balance, accounts.c.fence))).one()
            with pytest.raises(Fenced):
                await db.book("ada", 1, fence - 1)
    assert balance == 22


def test_every_field_and_header_is_on_the_page():
    page = (DOCS / "reference" / "wire-format.md").read_text().split("\n## Locks\n")[1].split("\n## ")[0]
    table = page.split("| field of an entry |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))) == set(
        Holding.__struct_fields__
    )
    written = set(re.findall(r"Natsume-Lock[\w-]*", line._ASKED))
    assert set(re.findall(r"^\| `(Natsume-Lock[\w-]*)`", page, re.MULTILINE)) == written
