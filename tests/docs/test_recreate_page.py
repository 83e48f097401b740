"""The commands of the how-to on recreating the broker do what it says, and its entry point is called."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from natsume.connecting import connect
from natsume.testing import until

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "recreate-the-broker.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
BIN = Path(sys.executable).parent


@pytest.fixture
def environ(natsume_settings, tmp_path):
    """An installation of the page's distribution, in which the function tells that it was called."""
    ((name, code),) = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(code.replace("STARTED.append", f"open({str(tmp_path / 'told')!r}, 'a').write"))
    (project,) = (tomllib.loads(one)["project"] for one in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
    info = tmp_path / "rebuilt-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rebuilt\nVersion: 1.0\n")
    ((group, points),) = project["entry-points"].items()
    lines = "".join(f"{key} = {value}\n" for key, value in points.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
    return os.environ | {
        "NATSUME_NATS_URL": natsume_settings.nats_url,
        "NATSUME_DATA_DIR": str(natsume_settings.data_dir),
        "PYTHONPATH": str(tmp_path),
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }


async def test_nothing_is_lost(natsume_broker, natsume_settings, environ, tmp_path):
    assert COMMANDS == ["natsume restore --recreate", "natsume restore"]
    conductor = subprocess.Popen([BIN / "natsume", "conductor"], env=environ, stderr=subprocess.DEVNULL)
    try:
        async with connect(settings=natsume_settings) as client:
            broker = natsume_broker.publisher
            await broker.publish(b"task.normal.small.shop.ShipOrder", b"ce-id: kept\r\n", b"{}")
            created = (await natsume_broker.stream_info("TASKS"))["created"]
            said = [
                subprocess.run(shlex.split(one), env=environ, capture_output=True, text=True, check=False)
                for one in COMMANDS
            ]
            assert [one.returncode for one in said] == [0, 0], said
            assert "1 tasks wait on the lanes or for their time, and are written down" in said[0].stderr
            assert said[1].stdout == "the broker was not lost: nothing to restore\n"
            assert (await natsume_broker.stream_info("TASKS"))["created"] != created
            assert (await client.status("kept")).state == "ENQUEUED"
            assert await until((tmp_path / "told").read_text) == "reservations"
    finally:
        conductor.terminate()
        conductor.wait()
