"""The code of the how-tos is a package of files that runs as the pages say."""

# ruff: noqa: PLC0415 - what is imported late is written by a fixture first

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from natsume import chain
from natsume.actors.registry import Registry
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.children import child_id
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.settings import Settings

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
FILE = re.compile(r"```python\n# (\S+\.py)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The files that the pages name, importable."""
    root = tmp_path_factory.mktemp("howto")
    for page in HOWTO.glob("*.md"):
        for name, code in FILE.findall(page.read_text()):
            path = root / name
            path.parent.mkdir(exist_ok=True)
            assert not path.exists(), name
            path.write_text(code)
    sys.path.insert(0, str(root))
    yield root
    sys.path.remove(str(root))


@pytest.mark.parametrize("page", ["write-an-actor.md"])
def test_the_other_code_compiles(page):
    for code in re.findall(r"```python\n(.*?)```", (HOWTO / page).read_text(), re.DOTALL):
        compile(code, page, "exec")


def test_the_actors_can_be_actors(package):
    from mail.policy import NextMorning
    from mail.refuse import Deliver
    from mail.tasks import SendMail
    from shop.tasks import ShipOrder
    from stock.tasks import TakeFromStock

    actors = {"a:A": ShipOrder, "a:B": SendMail, "a:C": Deliver, "a:D": TakeFromStock}
    assert [actor.needs_locks for actor in Registry.of_classes(actors).actors] == [True, False, False, True]
    delays = [SendMail.retry_policy.delay_s(retry) for retry in (1, 2, 3, 4)]
    assert delays == [10, 20, 40, None]

    class Fixed(NextMorning):
        def now(self):
            return datetime(2026, 11, 21, 17, 5, tzinfo=UTC)

    assert Fixed().schedule_retry(1, OSError()) == datetime(2026, 11, 22, 6, tzinfo=UTC)
    assert (Fixed().schedule_retry(2, OSError()), Fixed().schedule_retry(1, ValueError())) == (None, None)


def test_the_tests_pass(package):
    (package / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    names = [name for name in os.listdir(package) if name.startswith("test_")]
    assert len(names) == 3
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names],
        cwd=package,
        env=os.environ | {"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "6 passed" in run.stdout


async def test_pages_are_fetched_at_their_rate(package):
    from fetch.rules import limits_of
    from fetch.tasks import FetchPage, FetchPages

    assert [rule.class_rule().limit for rule in limits_of("a.example")] == [10, 50_000]
    registry = Registry.of_classes({"fetch:FetchPage": FetchPage, "fetch:FetchPages": FetchPages})
    with EmbeddedServer() as server:
        settings = Settings(nats_url=server.url, ack_wait_s=2.0, grace_s=2.0)
        async with working(settings, registry), connect(settings=settings, registry=registry) as client:
            tasks = [FetchPage("a.example", 1), FetchPages("a.example", [2, 3]), FetchPage("b.example", 4)]
            ended = [await client.result(token) for token in await client.submit_many(tasks)]
    assert ended == [1, 2, 4]


async def test_a_late_holder_writes_nothing(package, tmp_path, monkeypatch):
    from stock.db import StockDB
    from stock.tasks import TakeFromStock, TakeTwice

    monkeypatch.setenv("NATSUME_DB_URL_STOCK_DB", f"sqlite+aiosqlite:///{tmp_path}/stock.db")
    page = (HOWTO / "share-a-database.md").read_text()
    (create,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    registry = Registry.of_classes({"stock:TakeFromStock": TakeFromStock, "stock:TakeTwice": TakeTwice})
    with EmbeddedServer() as server:
        settings = Settings(nats_url=server.url, ack_wait_s=2.0, grace_s=2.0)
        async with working(settings, registry), connect(settings=settings, registry=registry) as client:
            async with StockDB.transaction() as db:
                await db.conn.execute(text(create))
                await db.conn.execute(text("INSERT INTO stock VALUES ('pen', 5, 0)"))
            taken = [await client.result(await client.submit(cls("pen"))) for cls in (TakeFromStock, TakeTwice)]
            async with StockDB.transaction() as db:
                left, fence = (await db.conn.execute(text("SELECT left_over, fence FROM stock"))).one()
                late = await db.take("pen", fence - 1)
    assert (taken, left, late) == ([True, True], 2, False)


async def test_documents_are_indexed_together(package, tmp_path):
    from index.tasks import INDEX, Announce, IndexDocument

    registry = Registry.of_classes({"index:IndexDocument": IndexDocument, "index:Announce": Announce})
    with EmbeddedServer() as server:
        settings = Settings(nats_url=server.url, data_dir=tmp_path, ack_wait_s=2.0, grace_s=2.0)
        async with (
            working(settings, registry),
            conducting(settings, registry),
            connect(settings=settings, registry=registry) as client,
        ):
            documents = [IndexDocument(f"page-{number}", "text" * (number != 3)) for number in range(5)]
            *tokens, _ = await client.submit_many([documents[number] for number in (0, 1, 2, 4, 3)])
            for number, token in zip((0, 1, 2, 4), tokens, strict=True):
                assert await client.result(token) is None
                assert await client.result(child_id(token, 0)) == f"page-{number} can be found"
    assert sorted(INDEX) == ["page-0", "page-1", "page-2", "page-4"]


async def test_photos_are_chained_and_mapped(package, tmp_path):
    from photos.tasks import Count, Find, Publish, Report, Resize

    registry = Registry.of_classes({f"photos:{cls.__name__}": cls for cls in (Count, Find, Publish, Report, Resize)})
    with EmbeddedServer() as server:
        settings = Settings(nats_url=server.url, data_dir=tmp_path, ack_wait_s=2.0, grace_s=2.0)
        async with (
            working(settings, registry),
            conducting(settings),
            connect(settings=settings, registry=registry) as client,
        ):
            assert await client.result(await client.spawn(chain(Find("cats"), Count()))) == 5
            assert await client.result(await client.result(await client.submit(Publish("cats")))) == 1000


async def test_the_votes_are_counted_once(package, tmp_path):
    from votes.tasks import Announce, CountDistrict, CountVotes

    classes = {f"votes:{cls.__name__}": cls for cls in (Announce, CountDistrict, CountVotes)}
    registry = Registry.of_classes(classes)
    with EmbeddedServer() as server:
        settings = Settings(nats_url=server.url, data_dir=tmp_path, ack_wait_s=2.0, grace_s=2.0)
        async with (
            working(settings, registry),
            conducting(settings),
            connect(settings=settings, registry=registry) as client,
        ):
            joins = [
                await client.result(await client.submit(CountVotes(5))),
                await client.spawn_with_callback([CountDistrict(1), CountDistrict(2)], Announce()),
            ]
            assert [await client.result(child_id(join, "callback")) for join in joins] == [100, 30]
