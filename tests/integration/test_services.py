"""Workers say what they are: to the broker's own CLI, and to `natsume workers ls`, also when a task blocks them."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from natsume import BaseTask, Size
from natsume.adapters.nats.services import WireServices
from natsume.exceptions import TaskFailed
from natsume.member import member
from natsume.model import limits
from natsume.testing import task_done, until

NATSUME = Path(sys.executable).with_name("natsume")
GO: list[asyncio.Event] = []


@pytest.fixture(autouse=True)
async def go():
    GO[:] = [asyncio.Event()]
    yield
    GO[0].set()


@dataclass
class Waits(BaseTask):
    async def execute(self) -> None:
        await GO[0].wait()


@dataclass
class Quick(BaseTask):
    good: bool = True

    async def execute(self) -> None:
        if not self.good:
            raise ValueError("boom at three in the morning")


@dataclass
class Blocks(BaseTask):
    url: str

    async def execute(self) -> list[dict[str, object]]:
        time.sleep(1.1)
        return json.loads(listed(self.url))


@dataclass
class Together(BaseTask):
    number: int
    batch_max = 4
    batch_wait_s = 0.05

    @classmethod
    async def execute_batch(cls, tasks) -> dict[str, Exception]:
        return {member(one).id: ValueError("odd") for one in tasks if one.number % 2}


class Heavy(BaseTask):
    size = Size.LARGE

    async def execute(self) -> None: ...


@pytest.fixture
def natsume_registry():
    return {f"shop:{cls.__name__}": cls for cls in (Waits, Quick, Blocks, Together, Heavy)}


def listed(url: str) -> str:
    command = [NATSUME, "workers", "ls", "--json", "--nats-url", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def micro(natsume_server):
    binary = os.environ.get("NATS_CLI") or shutil.which("nats")
    if not binary:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no nats CLI: run .ci/install-nats-cli")

    async def run(*arguments: str) -> str:
        command = [binary, "-s", natsume_server.url, "micro", *arguments]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


async def some_work(client, worker) -> None:
    for token in await client.submit_many([Quick() for _ in range(5)]):
        await client.result(token)
    with pytest.raises(TaskFailed):
        await client.result(await client.submit(Quick(good=False)))
    await client.submit_many([Waits() for _ in range(2)])
    await until(lambda: worker.intake.running == 2)


async def test_the_brokers_own_cli_shows_size_slots_busy_and_actors(micro, natsume_client, natsume_start_worker):
    small = await natsume_start_worker(concurrency=7)
    large = await natsume_start_worker(size="large", concurrency=1)
    await some_work(natsume_client, small)
    rows = await micro("ls")
    for worker, said in ((small, "small worker .*2 of 7 slots busy"), (large, "large worker .*0 of 1 slots busy")):
        assert worker.nonce in rows
        assert len(re.findall(said, rows)) == 1, rows
    info = await micro("info", "natsume-worker", small.nonce)
    for text in (
        "size: small",
        "slots: 7",
        "busy: 2",
        "shop-Quick",
        "task.normal.small.shop.Quick",
        "actor: shop:Quick",
    ):
        assert text in info, info
    table = await micro("stats", "natsume-worker")
    (quick,) = [[cell.strip() for cell in row.split("│")] for row in table.splitlines() if "shop-Quick" in row]
    assert (quick[3], quick[4], quick[5]) == ("6", "normal-small", "1")
    assert "busy-2-of-7" in table
    assert "busy-0-of-1" in table
    assert (await micro("ping")).count("natsume-worker") == 2


async def test_workers_are_listed_with_what_they_have_in_hand(natsume_client, natsume_start_worker, natsume_server):
    small = await natsume_start_worker(concurrency=7)
    await natsume_start_worker(size="large", concurrency=1)
    await some_work(natsume_client, small)
    large_row, row = json.loads(await asyncio.to_thread(listed, natsume_server.url))
    assert (large_row["size"], large_row["slots"], large_row["busy"]) == ("large", 1, 0)
    assert row.pop("started").endswith("Z")
    assert isinstance(row.pop("host"), str)
    assert row == {
        "id": small.nonce,
        "pid": os.getpid(),
        "size": "small",
        "state": "running",
        "slots": 7,
        "busy": 2,
        "in_hand": 2,
        "runs": 6,
        "failures": 1,
        "version": "0.1.0",
    }


async def test_members_of_a_batch_are_counted_one_by_one(natsume_client, natsume_worker):
    for token in await natsume_client.submit_many([Together(number) for number in range(8)]):
        await task_done(natsume_client, token)
    (work,) = await until(lambda: natsume_worker.state().actors)
    assert (work.runs, work.failures, work.last_error) == (8, 4, "ValueError: odd")


async def test_a_worker_whose_loop_is_blocked_says_so(natsume_client, natsume_worker, natsume_server):
    (row,) = await natsume_client.result(await natsume_client.submit(Blocks(natsume_server.url)))
    assert (row["state"], row["busy"]) == ("blocked", 1)


async def test_no_worker_is_no_error_and_foreign_answers_are_counted(natsume_broker, natsume_server, monkeypatch):
    services = WireServices(natsume_broker.wire)
    assert await services.ask_all() == ([], 0)
    assert json.loads(await asyncio.to_thread(listed, natsume_server.url)) == []
    monkeypatch.setattr("natsume.adapters.nats.services._SILENCE_S", 0.05)

    def nonsense(_subject, inbox, _body, _headers):
        for body in (b"{}", b"[]", b'{"endpoints":[{"name":"x","data":{"id":5}}]}', b"\xff"):
            natsume_broker.wire.send(inbox, b"", b"", body)

    natsume_broker.wire.listen("$SRV.STATS.natsume-worker", nonsense)
    assert await services.ask_all() == ([], 4)
    monkeypatch.setattr(limits, "WORKERS_ASKED_MAX", 2)
    assert await services.ask_all() == ([], 2)
