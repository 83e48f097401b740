"""The commands of the pages on locks and limits run as the pages say, and say what they say there."""

import asyncio
import re
import shlex
from pathlib import Path

import pytest

from natsume.actors.registry import Registry
from natsume.cli.main import main
from natsume.config.tasks_file import parse
from natsume.model.lock import Blocked, Holding, Mode, Want
from natsume.model.strike import Strike
from natsume.model.subject import LANES
from natsume.model.task import Task

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
LIVE, WHO = HOWTO / "change-limits-live.md", HOWTO / "find-who-holds-a-lock.md"


def shown(page: Path):
    """The commands of a page and what each prints there."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [part.split("\n", maxsplit=1) for part in parts]


def words(text: str) -> list[str]:
    """What does not change from run to run: neither numbers nor times."""
    return re.findall(r"[A-Za-z_][A-Za-z_.>-]{2,}", text)


@pytest.fixture
def storage(monkeypatch):
    (code,) = re.findall(r"```python\n# storage/tasks.py\n(.*?)```", LIVE.read_text(), re.DOTALL)
    found: dict = {"__name__": "storage"}
    exec(code, found)
    registry = Registry.of_classes({"storage:RemoveFile": found["RemoveFile"]})
    monkeypatch.setattr(Registry, "load", lambda _prefixes=(): registry)
    return found["RemoveFile"]


@pytest.fixture
def said(natsume_server, capsys):
    async def said(command: str, output: str) -> str:
        _, *arguments = shlex.split(command)
        code = await asyncio.to_thread(main, [*arguments, "--nats-url", natsume_server.url])
        told = capsys.readouterr()
        assert code == 0, f"$ {command}\n{told.err}"
        missing = [word for word in words(output) if word not in told.out]
        assert not missing, f"$ {command}: {missing}\n{told.out}"
        return told.out

    return said


async def waits(broker, task: str, actor: str, blocked: Blocked) -> None:
    await broker.leases.park(Task(task, actor, LANES[1], b"{}", hop=1, waits=1), blocked, broker.now() + 600)


async def test_limits_are_changed_live(natsume_broker, storage, said):
    assert [lock.lock_key for lock in storage("CERN-DST", "/a").execution_locks] == [
        "rate:task:CERN-DST:RemoveFile",
        "semaphore:task:CERN-DST",
    ]
    (file,) = re.findall(r"```yaml\n(.*?)```", LIVE.read_text(), re.DOTALL)
    assert parse(file.encode(), "tasks.yaml").limits["rate:task:CERN-DST:RemoveFile"].burst == 2
    for command, output in shown(LIVE):
        await said(command, output)
        if command.startswith("natsume strike "):
            strike = Strike("storage:RemoveFile", "", "", 0.0, {"element": "CERN-DST"})
            await waits(natsume_broker, "t", "storage:RemoveFile", Blocked(strike.want))


@pytest.mark.natsume_leaves_leases("held by hand")
async def test_who_holds_a_lock_is_found(natsume_broker, said):
    want = Want("mutex.order.8", "mutex:order:8", Mode.PERMIT, 1, 30.0, manual=True)
    await natsume_broker.leases.acquire(want, Holding("2a22e680045f-5", "order-7", 0.0, worker="host-1-4711"))
    await waits(natsume_broker, "order-8", "shop:Pack", Blocked(want, "order-7", ends_at=None))
    for command, output in shown(WHO):
        await said(command, output)
