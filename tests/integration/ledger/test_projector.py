"""What conductors write into the ledger, over a real broker and each database."""

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
