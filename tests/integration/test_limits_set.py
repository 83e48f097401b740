"""Limits that are changed while the system runs: by hand and by the tasks file, shared by all actors of an object."""

import asyncio
import time
from dataclasses import dataclass

import msgspec
import pytest

from natsume import BaseTask, ConcurrencyLimiter, RateLimiter, Semaphore
from natsume.cli.main import main
from natsume.config.tasks_file import parse
from natsume.model.config import Applied
from natsume.model.limit_rule import ConcurrencyRule, RateRule
from natsume.testing import until


class OneAnHour(RateLimiter):
    limit = 1
    window_seconds = 3600


class Off(ConcurrencyLimiter):
    pass


@dataclass
class Remove(BaseTask):
    element: str

    @property
    def execution_locks(self):
        return [OneAnHour("task", self.element, "RemoveFile")]

    async def execute(self):
        return time.monotonic()


class Copy(Remove):
    pass


@dataclass
class Held(BaseTask):
    @property
    def execution_locks(self):
        return [Semaphore("job", 7, permits=1)]

    async def execute(self):
        HELD.append(1)
        MOST.append(len(HELD))
        await asyncio.sleep(0.05)
        HELD.pop()


@dataclass
class HeldInside(Held):
    @property
    def execution_locks(self):
        return []

    async def execute(self):
        async with Semaphore("job", 7, permits=1, wait_s=20):
            await super().execute()


HELD: list[int] = []
MOST: list[int] = []
NAME = "rate:task:CERN-DST:RemoveFile"


@pytest.fixture
def natsume_registry():
    return {"t:Remove": Remove, "t:Copy": Copy, "t:Held": Held, "t:HeldInside": HeldInside}


@pytest.fixture
def run(natsume_server, capsys):
    async def run(*arguments):
        code = await asyncio.to_thread(main, ["limits", *map(str, arguments), "--nats-url", natsume_server.url])
        said = capsys.readouterr()
        assert len(said.err.splitlines()) <= 3
        return code, said.out + said.err

    return run


def rule_in(worker, client, cls=Remove, lock=None, tenant=None):
    actor = client.registry.of(cls)
    return worker._ports.rule(lock or OneAnHour("task", "CERN-DST", "RemoveFile"), actor, tenant)


async def test_a_limit_set_by_hand_holds_on_every_worker(natsume_broker, natsume_client, natsume_start_worker, run):
    workers = [await natsume_start_worker() for _ in range(2)]
    assert {rule_in(worker, natsume_client) for worker in workers} == {RateRule(1, 3600.0)}
    code, said = await run("set", NAME, "--limit", "5", "--burst", "3", "--why", "the disks are new")
    assert (code, said) == (0, f"{NAME}: it is set\n")
    for worker in workers:
        await until(lambda w=worker: rule_in(w, natsume_client), lambda rule: (rule.limit, rule.burst) == (5, 3))
    # For both actors that name the object, under either of its names.
    assert rule_in(workers[0], natsume_client, Copy) == rule_in(workers[1], natsume_client, Remove)
    assert (await run("set", "rate.task.CERN-DST.RemoveFile", "--vo", "lhcb", "--off", "--why", "x"))[0] == 0
    await until(lambda: rule_in(workers[0], natsume_client, tenant="lhcb") is None)
    assert rule_in(workers[0], natsume_client, tenant="cms").limit == 5
    assert (await run("set", "rate", "--actor", "t:Copy", "--limit", "9", "--any-actor"))[0] == 0
    await until(lambda: rule_in(workers[0], natsume_client, Copy).limit == 9)
    assert rule_in(workers[0], natsume_client, Remove).limit == 5
    code, said = await run("ls", "--json")
    rows = msgspec.json.decode(said)
    assert [(row["lock"], row["actor"], row["vo"], row["limit"], row["enabled"]) for row in rows] == [
        (NAME, None, None, 5, None),
        (NAME, None, "lhcb", None, False),
        ("rate", "t:Copy", None, 9, None),
    ]
    assert {(row["source"], "@" in row["who"], row["at"] is not None) for row in rows} == {("set", True, True)}
    assert rows[0]["why"] == "the disks are new"
    before = rule_in(workers[0], natsume_client).version
    assert (await run("unset", NAME))[0] == 0
    await until(lambda: rule_in(workers[0], natsume_client).limit == 1)
    assert rule_in(workers[0], natsume_client).version > before  # places under the rule before are void
    code, said = await run("unset", NAME)
    assert (code, "nothing is set for" in said) == (1, True)


async def test_tasks_that_wait_for_an_hour_run_at_once_when_the_limit_is_raised(
    natsume_broker, natsume_client, natsume_worker, run
):
    assert (await run("set", NAME, "--limit", "1000", "--window-seconds", "1", "--burst", "50", "--why", "x"))[0] == 0
    await until(lambda: rule_in(natsume_worker, natsume_client).limit == 1000)
    tokens = [await natsume_client.submit(cls("CERN-DST")) for cls in (Remove, Copy) * 5]
    for token in tokens:
        await natsume_client.result(token, 10)


async def test_the_file_says_it_per_object_and_per_task_and_what_is_set_wins(
    natsume_broker, natsume_client, natsume_worker, run
):
    text = """
vos: [lhcb]
limits:
  rate:task:CERN-DST:RemoveFile: {limit: 20, window_seconds: 10}
  concurrency:job:7: {limit: 4}
common: {t:Held: {limits: {semaphore: {permits: 3}}}}
vo-overrides: {lhcb: {t:Copy: {limits: {rate: {limit: 30}}}}}
"""
    await natsume_broker.config.put(Applied(parse(text.encode(), "tasks.yaml"), "ada", time.time(), "h"), 0)
    rule = await until(lambda: rule_in(natsume_worker, natsume_client), lambda rule: rule.limit == 20)
    assert (rule.window_s, rule.burst) == (10.0, 1)
    assert rule_in(natsume_worker, natsume_client, Copy, tenant="lhcb").limit == 30
    assert rule_in(natsume_worker, natsume_client, lock=Off("job", 7)) == ConcurrencyRule(4)
    assert rule_in(natsume_worker, natsume_client, lock=Off("job", 8)) is None
    assert (await run("set", NAME, "--limit", "2", "--why", "x"))[0] == 0
    await until(lambda: rule_in(natsume_worker, natsume_client).limit == 2)
    assert rule_in(natsume_worker, natsume_client).window_s == 10.0
    rows = msgspec.json.decode((await run("ls", "--json"))[1])
    assert [(row["lock"], row["actor"], row["vo"], row["source"]) for row in rows] == [
        (NAME, None, None, "set"),
        (NAME, None, None, "file"),
        ("concurrency:job:7", None, None, "file"),
        ("semaphore", "t:Held", None, "file"),
        ("rate", "t:Copy", "lhcb", "file"),
    ]


@pytest.mark.parametrize("held", [Held, HeldInside], ids=["named", "inside"])
async def test_a_semaphore_gets_more_permits_while_it_is_used(
    natsume_broker, natsume_client, natsume_worker, run, held
):
    MOST.clear()
    for token in [await natsume_client.submit(held()) for _ in range(5)]:
        await natsume_client.result(token, 10)
    assert max(MOST) == 1
    assert (await run("set", "semaphore:job:7", "--permits", "4", "--why", "x"))[0] == 0
    await until(lambda: rule_in(natsume_worker, natsume_client, held, Semaphore("job", 7)) == ConcurrencyRule(4))
    for token in [await natsume_client.submit(held()) for _ in range(20)]:
        await natsume_client.result(token, 10)
    assert 2 <= max(MOST) <= 4


async def test_what_classes_say_is_listed_too(natsume_broker, run):
    code, said = await run("ls", "--classes", "--json")
    rows = {row["source"]: row for row in msgspec.json.decode(said)}
    own = f"class {__name__}"
    assert code == 0
    assert {key: rows[f"{own}:OneAnHour"][key] for key in ("lock", "limit", "window_seconds", "burst")} == {
        "lock": "rate",
        "limit": 1,
        "window_seconds": 3600,
        "burst": 1,
    }
    assert (rows[f"{own}:Off"]["lock"], rows[f"{own}:Off"]["limit"], rows[f"{own}:Off"]["at"]) == (
        "concurrency",
        None,
        None,
    )


async def test_what_is_wrong_is_told(natsume_broker, run):
    why = ("--why", "x")
    for arguments, said in (
        (("set", "rate:nothing:7", "--limit", 1, *why), "Unknown LockedObjectType 'nothing'"),
        (("set", "rate:jobs:7", "--limit", 1, *why), "did you mean 'job'"),
        (("set", "rate:Job:7", "--limit", 1, *why), "the object type is written job"),
        (("set", "mutex:job:7", "--limit", 1, *why), "mutex:job:7 is no name of a lock with a limit"),
        (("set", "rate:job:7", "--permits", 1, *why), "rate:job:7.permits means nothing for rate"),
        (("set", "rate:job:7", "--limit", 0, *why), "rate:job:7: Expected int >= 1"),
        (("set", "rate:job:7", *why), "rate:job:7 says nothing; give one of limit"),
        (("set", "rate", "--limit", 1, *why), "name it with --actor"),
        (("set", "nonsense", "--limit", 1, *why), "'nonsense' is no lock; write kind, object type and key"),
        (("set", "rate:job:7", "--limit", 1, "--why", ""), "--why has 0 characters"),
    ):
        code, found = await run(*arguments)
        assert (code, said in found) == (1, True), found
    assert (await run("ls"))[1] == "nothing is set, and no tasks file says anything of limits\n"
