"""What the how-to on outboxes shows runs as it says."""

# ruff: noqa: PLC0415 - what is imported late is written by a fixture first

import asyncio
import re
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from natsume.actors.registry import Registry
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.outbox import engine_at

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "submit-from-a-transaction.md").read_text()


@pytest.fixture
def package(tmp_path, monkeypatch):
    for name, code in re.findall(r"```python\n# (\S+\.py)\n(.*?)```", PAGE, re.DOTALL):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "orders"]:
        del sys.modules[name]


async def test_an_order_is_packed(natsume_broker, natsume_settings, package, tmp_path):
    from orders.database import orders, prepare
    from orders.relay import relay
    from orders.service import order
    from orders.tasks import PackOrder

    engine = engine_at(f"sqlite+aiosqlite:///{tmp_path}/orders.sqlite")
    await prepare(engine)
    registry, stop = Registry.of_classes({"orders:PackOrder": PackOrder}), asyncio.Event()
    async with working(natsume_settings, registry), connect(settings=natsume_settings, registry=registry) as client:
        relaying = asyncio.create_task(relay(engine, client, stop))
        token = await order(engine, client, 7, "tea")
        assert await client.result(token) == "order 7 is packed"
        with pytest.raises(Exception, match="UNIQUE"):
            await order(engine, client, 7, "tea")
        assert await client.result(await order(engine, client, 8, "tea")) == "order 8 is packed"
        stop.set()
        await relaying
    async with engine.connect() as connection:
        assert (await connection.execute(select(func.count()).select_from(orders))).scalar_one() == 2
    await engine.dispose()
