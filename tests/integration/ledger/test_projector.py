"""What conductors write into the ledger, over a real broker and each database."""

import asyncio
from functools import partial

from natsume.adapters.sql import migrating
from natsume.adapters.sql.ledger import SqlLedger
from natsume.adapters.sql.remains import SqlRemains
from natsume.compose import conductor
from natsume.compose.conductor import conducting, database
from natsume.ending import end
from natsume.runtime.sweeper import Sweeper
from natsume.testing import until

from .actors import Double, Fail, FailOnce, Parent


async def test_what_becomes_of_tasks_stands_in_the_ledger(natsume_client, natsume_worker, natsume_conductor, rows):
    plain = await natsume_client.submit(Double(1))
    owned = await natsume_client.submit(Double(2), owner="ada", tenant="lhcb", labels={"a": "b"})
    dead = await natsume_client.submit(Fail())
    parent = await natsume_client.submit(Parent())
    child = await natsume_client.result(parent)
    retried = await natsume_client.submit(FailOnce())
    later = await natsume_client.submit(Double(3), delay=3600, track=True)
    ends = {plain, owned, dead, parent, child, retried}
    found = await until(rows, lambda seen: len(seen) == 7 and all(seen[one]["finished_at"] for one in ends))
    assert {found[one]["state"] for one in (plain, owned, parent, child)} == {"COMPLETED"}
    assert (found[plain]["result"], found[plain]["attempts"], found[plain]["actor"]) == ("2", 1, "t:Double")
    assert (found[owned]["owner"], found[owned]["tenant"], found[owned]["labels"]) == ("ada", "lhcb", '{"a":"b"}')
    assert (found[owned]["arguments"], found[owned]["tracked"]) == ('{"number":2}', True)
    assert (found[dead]["state"], found[dead]["reason"], found[dead]["error"]) == (
        "FAILED",
        "exhausted",
        "ValueError",
    )
    assert (found[child]["parent"], found[child]["arguments"]) == (parent, '{"number":4}')
    assert (found[later]["state"], found[later]["finished_at"]) == ("WAITING", None)
    assert (found[retried]["state"], found[retried]["failures"]) == ("FAILED", 2)


async def test_no_duty_asks_the_ledger_before_it_has_its_schema(natsume_settings, natsume_broker, monkeypatch, caplog):
    seen: list[str] = []

    def follow(port, name):
        method = getattr(port, name)

        async def told(self, *given):
            if name != "prepare":
                seen.append(name)
            answer = await method(self, *given)
            if name == "prepare":
                seen.append(name)
            return answer

        monkeypatch.setattr(port, name, told)

    for port, name in ((SqlLedger, "prepare"), (SqlLedger, "prune"), (SqlRemains, "silent")):
        follow(port, name)
    caplog.set_level("INFO")
    async with conducting(natsume_settings), database(natsume_settings) as engine:
        if engine.dialect.name != "sqlite":  # of others an operator makes the schema
            await until(lambda: "run `natsume migrate`" in caplog.text)
            await migrating.migrate(engine)
        await until(lambda: {"prepare", "prune", "silent"} <= set(seen))
    assert seen[0] == "prepare"
    assert "next round" not in caplog.text


async def test_a_conductor_ends_also_where_a_driver_loses_a_cancellation(natsume_settings, natsume_broker, monkeypatch):
    begun, lost = asyncio.Event(), asyncio.Event()

    async def deaf(_sweeper):
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Sweeper, "run", deaf)
    monkeypatch.setattr(conductor, "end", partial(end, again_s=0.5))
    async with asyncio.timeout(30), conducting(natsume_settings):
        await begun.wait()
    assert lost.is_set()
