"""`just demo` accounts for every task, and says so when one is missing."""

import asyncio
import re
import subprocess
import sys

import msgspec
import pytest

from natsume.model import subject
from natsume_examples.demo.log import Log
from natsume_examples.demo.plan import small_plan
from natsume_examples.demo.play import judge, play
from natsume_examples.demo.stage import staged


def test_the_demo_ends_well():
    command = [sys.executable, "-m", "natsume_examples.demo"]
    demo = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stderr == ""
    for word in ("submitted", "completed", "retry", "dead", "failed", "killed", "recovered", "stopped"):
        assert re.search(rf"^ *\d+\.\d\d s  {word} ", demo.stdout, re.MULTILINE), f"no line says {word}"
    assert f"Every one of the {len(small_plan().tasks)} ids has exactly one done record" in demo.stdout
    again = re.search(r"(\d+) tasks ran again after worker A was killed", demo.stdout)
    assert again
    assert int(again[1]) >= 3


@pytest.fixture
def loop_of_the_demo():
    """The demo spawns processes from a loop of its own, as `python -m` gives it."""
    with asyncio.Runner() as runner:
        yield runner


def test_a_lost_record_and_an_unknown_id_are_noticed(loop_of_the_demo, capsys):
    async def scenario() -> None:
        plan, log = small_plan(quick=30, slow=6), Log()
        async with staged(plan) as stage:
            story = await play(plan, stage, log)
            assert await judge(plan, stage, story, log) == 0

            lost = next(token for token, planned in story.submitted.items() if "slow" in planned.label)
            never = "0" * 32
            story.submitted[never] = story.submitted[lost]
            capsys.readouterr()
            assert await judge(plan, stage, story, log) == 1
            assert f"task {never} SyncOwnersTask(slow-0) has 0 done records, not 1" in capsys.readouterr().out

            del story.submitted[never]
            await purge(stage.broker, subject.done_fence(lost))
            assert await judge(plan, stage, story, log) == 1
            told = capsys.readouterr().out
            assert told.count("mismatch") == 1
            assert f"task {lost} SyncOwnersTask(slow-0) has 0 done records, not 1" in told

    loop_of_the_demo.run(scenario())


async def purge(broker, filter_subject: str) -> None:
    body = msgspec.json.encode({"filter": filter_subject})
    answer = msgspec.json.decode(await broker.request("$JS.API.STREAM.PURGE.RECORDS", body))
    assert answer["purged"] == 1
