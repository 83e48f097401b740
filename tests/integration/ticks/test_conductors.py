"""Conductors are stopped, continued and killed: no tick is doubled, none is missed."""

import asyncio
import signal
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

from natsume.model.tick import ScheduleKey
from natsume.testing import until

from . import actors
from .conftest import gaps

ROOT = Path(__file__).parents[3]
KEY = ScheduleKey("t:EachOne")


@asynccontextmanager
async def conductor(url, folder):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.ticks.conductor",
        url,
        str(folder),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_no_tick_is_doubled_and_none_is_missed(natsume_server, natsume_worker, ticks, tmp_path):
    actors.EachOne.runs.clear()

    async def ticking(since):
        return await until(lambda: ticks(KEY), lambda found: found and max(found) > since + 1)

    url = natsume_server.url
    async with conductor(url, tmp_path) as one, conductor(url, tmp_path) as two:
        await ticking(0)
        one.send_signal(signal.SIGSTOP)
        await ticking(time.time())
        two.kill()
        await ticking(time.time())
        natsume_server.kill()
        await asyncio.sleep(2)  # the outage is the fact; no conductor that could act lives on
        natsume_server.start()
        up = time.time()
        one.send_signal(signal.SIGCONT)
        await ticking(up + 3)
        await until(lambda: ticks(KEY), lambda found: set(gaps(found)) == {1.0})
        one.kill()
        ran = await ticking(time.time())
    assert set(gaps(ran)) == {1.0}
    assert len(actors.EachOne.runs) == len(set(actors.EachOne.runs)) >= len(ran)
