"""The broker's own CLI works with what we keep there: each command of the how-to runs and says what it says there."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import nats
import pytest
from nats.js.errors import NotFoundError

from natsume.adapters.nats import topology
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.locks import MutexLock
from natsume.model.lock import Blocked, Holding
from natsume.model.subject import LANES
from natsume.model.task import Task
from natsume.settings import Settings

ROOT = Path(__file__).parents[2]
HOWTO = ROOT / "docs" / "howto" / "operate-with-the-nats-cli.md"
SUBMIT = 'nats pub task.normal.small.owners.SyncOwnersTask \'{"owner_name":"alice"}\''
NAMED = (
    "nats stream ls",
    "nats stream subjects TASKS",
    "nats stream report",
    "nats consumer report TASKS",
    "nats kv ls",
    "nats kv ls locks",
    "nats stream add --config nats/streams/TASKS.json",
    "nats consumer add TASKS --config nats/consumers/normal-small.json",
    SUBMIT,
)


class Shown(NamedTuple):
    """A command of the how-to and what it prints there."""

    command: str
    output: str


def shown() -> list[Shown]:
    blocks = re.findall(r"```console\n(.*?)```", HOWTO.read_text(), re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [Shown(*part.split("\n", maxsplit=1)) for part in parts]


def words(text: str) -> list[str]:
    """What does not change from run to run: neither numbers nor times."""
    return re.findall(r"[A-Za-z_][A-Za-z_.>-]{2,}", text)


class Cli:
    """The real `nats`, pointed at one server."""

    def __init__(self, binary: str, url: str, home: Path) -> None:
        self.binary = binary
        self.environment = os.environ | {"NATS_URL": url, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}

    def __call__(self, command: str) -> subprocess.CompletedProcess[str]:
        _, *arguments = shlex.split(command)
        return subprocess.run(
            [self.binary, *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def binary() -> str:
    found = os.environ.get("NATS_CLI") or shutil.which("nats")
    if found:
        return found
    missing = "there is no nats CLI: run .ci/install-nats-cli and put it on PATH or into NATS_CLI"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture
async def connection() -> AsyncIterator[nats.NATS]:
    with EmbeddedServer() as server:
        connection = await nats.connect(server.url, allow_reconnect=False)
        yield connection
        await connection.close()
        server.kill()


@pytest.fixture
def cli(binary: str, connection: nats.NATS, tmp_path: Path) -> Cli:
    return Cli(binary, connection.connected_url.geturl(), tmp_path)


@pytest.fixture
async def applied(connection: nats.NATS) -> nats.NATS:
    async def request(subject: str, payload: bytes) -> bytes:
        return (await connection.request(subject, payload, timeout=5)).data

    await topology.apply(request)
    return connection


def test_the_how_to_shows_what_operators_need() -> None:
    assert {command.command for command in shown()} >= set(NAMED)


async def hold_and_wait(connection: nats.NATS) -> None:
    """A task that holds `mutex:job:42`, and another that waits for it."""
    broker = await Broker.connect(Settings(nats_url=connection.connected_url.geturl()))
    want = MutexLock("job", 42, ttl_ms=600_000).want
    await broker.leases.acquire(want, Holding("2a22e680045f-5", "order-7", 0.0, worker="host-1-4711"))
    blocked = await broker.leases.acquire(want, Holding("x", "order-8", 0.0))
    assert isinstance(blocked, Blocked)
    task = Task("order-8", "shop:Ship", LANES[1], b"{}", hop=1, waits=1, waiting_since=broker.now())
    await broker.leases.park(task, blocked, broker.now() + 600)
    await broker.close()


async def test_each_command_of_the_how_to_says_what_it_says_there(applied: nats.NATS, cli: Cli) -> None:
    await hold_and_wait(applied)
    for command, output in shown():
        done = cli(command)
        refused = "nats: error" in output
        assert (done.returncode != 0) == refused, f"$ {command}\n{done.stdout}"
        missing = [word for word in words(output) if word not in done.stdout]
        assert not missing, f"$ {command}\n{done.stdout}"


async def test_a_task_published_by_the_cli_is_stored_in_its_lane(applied: nats.NATS, cli: Cli) -> None:
    assert cli(SUBMIT).returncode == 0
    stored = await applied.jetstream().get_msg("TASKS", 1)
    assert (stored.subject, stored.data) == ("task.normal.small.owners.SyncOwnersTask", b'{"owner_name":"alice"}')
    info = await applied.jetstream().consumer_info("TASKS", "normal-small")
    assert info.num_pending == 1


async def test_a_task_for_a_lane_that_does_not_exist_is_stored_nowhere(applied: nats.NATS, cli: Cli) -> None:
    assert cli("nats pub task.urgent.small.x.Y '{}'").returncode == 0
    assert cli("nats pub --jetstream task.urgent.small.x.Y '{}'").returncode == 1
    for stream in await applied.jetstream().streams_info():
        assert stream.state.messages == 0
    with pytest.raises(NotFoundError):
        await applied.jetstream().find_stream_name_by_subject("task.urgent.small.x.Y")


async def test_a_released_lock_is_no_longer_listed(applied: nats.NATS, cli: Cli) -> None:
    publish = applied.jetstream().publish
    await publish("$KV.locks.job.42", b"{}", headers={"Nats-TTL": "600s"})
    await publish("$KV.locks.job.43", b"{}", headers={"Nats-TTL": "600s"})
    await publish("$KV.locks.job.42", b"", headers={"KV-Operation": "DEL", "Nats-TTL": "600s"})
    assert cli("nats kv ls locks").stdout.split() == ["job.43"]


async def test_the_cli_alone_creates_what_apply_would(connection: nats.NATS, cli: Cli) -> None:
    for folder in ("streams", "buckets"):
        for file in sorted((ROOT / "nats" / folder).glob("*.json")):
            done = cli(f"nats stream add --config {file}")
            assert done.returncode == 0, done.stdout
    for file in sorted((ROOT / "nats" / "consumers").glob("*.json")):
        stream = "RECORDS" if file.stem.partition("-")[0] in {"reactor", "ledger"} else "TASKS"
        done = cli(f"nats consumer add {stream} --config {file}")
        assert done.returncode == 0, done.stdout

    async def request(subject: str, payload: bytes) -> bytes:
        return (await connection.request(subject, payload, timeout=5)).data

    assert await topology.diff(request) == []
