"""Who replays a dead letter is killed before it is sent, or said to be: conductors finish it, and it runs once."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from natsume.compose.conductor import conducting
from natsume.core.join import JoinState
from natsume.core.settling import DeadLetter
from natsume.model import times
from natsume.model.record import child_id, replay_id
from natsume.testing import until

from .actors import Correctable, Total
from .installation import REGISTRY, Installation


@pytest.fixture(autouse=True)
def conductors_look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "RESEND_AFTER_S", 0.5)
    monkeypatch.setattr(times, "RESEND_S", 0.2)


@pytest.mark.parametrize("after", ["decided", "recorded", "submitted"])
async def test_the_replay_runs_once_and_completes_the_join_that_waited(installation: Installation, after: str) -> None:
    client = installation.client
    async with conducting(installation.settings, REGISTRY), conducting(installation.settings, REGISTRY):
        await installation.start_worker().ready()
        join = await client.spawn_with_callback([Correctable(1), Correctable(-1)], Total())

        async def failed() -> list[str]:
            found = await installation.broker.joins.read([join])
            return found[join][0].failed_ids() if join in found else []

        (letter,) = await until(failed)
        await replay_and_die(installation, letter, after)
        callback = child_id(join, "callback")
        records = await installation.all_done([replay_id(letter), callback], within_s=30)

        async def settled() -> DeadLetter:
            return (await client.letters.find([letter]))[0]

        await until(settled, lambda found: not found.is_open)
    (found, _) = (await installation.broker.joins.read([join]))[join]
    print(f"killed when it had {after}: {installation.journal.starts().total()} starts")
    assert found.state is JoinState.FIRED
    assert await client.result(callback) == 3
    assert records[replay_id(letter)][1].replay_of == letter
    assert set(installation.journal.starts().values()) == {1}


async def replay_and_die(installation: Installation, letter: str, after: str) -> None:
    """Replay in a process of its own, which is killed where it stops."""
    command = [sys.executable, str(Path(__file__).with_name("replayer.py")), letter, after]
    process = subprocess.Popen(command, env=installation.environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert (await asyncio.to_thread(process.stdout.readline)).strip() == "stopped"
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
