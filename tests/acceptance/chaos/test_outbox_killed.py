"""A thousand transactions, half of them rolled back, relays killed in between: what was committed runs, and once."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.outbox import create_table, engine_at
from natsume.testing import until

from .actors import Noop
from .installation import NATSUME, Installation, WorkerProcess

TRANSACTIONS = 1000
AT_ONCE = 8
KILLS = int(os.environ.get("CHAOS_KILLS", "3"))


class RelayProcess(WorkerProcess):
    """One `natsume relay`."""

    def __init__(self, installation: Installation, url: str, number: int) -> None:
        self.log = installation.folder / f"relay-{number}.log"
        with self.log.open("wb") as stderr:
            command = [str(NATSUME), "relay", "--database", url]
            environment = installation.environment()
            self.process = subprocess.Popen(command, env=environment, stderr=stderr, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    with EmbeddedServer() as server:
        installation = Installation(server, tmp_path, 2.0)
        try:
            yield await installation.open()
        finally:
            await installation.close()
            server.kill()


async def test_what_was_committed_runs_once(installation: Installation, database_url: str):
    engine = engine_at(database_url)
    await create_table(engine)
    await installation.witness()
    installation.start_worker(50)
    committed: set[str] = set()
    rolled_back: set[str] = set()
    numbers = iter(range(TRANSACTIONS))
    # So that each relay that is killed has something to do.
    shares = asyncio.Semaphore(0)

    async def serve() -> None:
        for number in numbers:
            await shares.acquire()
            async with AsyncSession(engine) as session:
                token = await installation.client.submit(Noop(number), session=session)
                if number % 2:
                    await session.rollback()
                    rolled_back.add(token)
                else:
                    await session.commit()
                    committed.add(token)

    def allow(count: int) -> None:
        for _ in range(count):
            shares.release()

    async def ended() -> int:
        return len(await installation.done_ids())

    relays = [RelayProcess(installation, database_url, number) for number in range(2)]
    serving = [asyncio.create_task(serve()) for _ in range(AT_ONCE)]
    try:
        for number in range(KILLS):
            done = await ended()
            allow(TRANSACTIONS // (KILLS + 1))
            await until(ended, lambda count, done=done: count > done)
            victim = relays[number % 2]
            await victim.kill()
            relays[number % 2] = RelayProcess(installation, database_url, 2 + number)
        allow(TRANSACTIONS)
        await asyncio.gather(*serving)
        await installation.all_done(committed, within_s=40)
        assert len(committed) == len(rolled_back) == TRANSACTIONS // 2
        assert await installation.done_ids() == committed
        assert set((await installation.witnessed(len(committed))).values()) == {1}
    finally:
        for relay in relays:
            if relay.alive:
                await relay.kill()
        await engine.dispose()
