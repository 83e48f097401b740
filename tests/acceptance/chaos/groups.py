"""Groups under kills of everything: `python -m tests.acceptance.chaos.groups GROUPS SEED [KIND]`.

Workers, conductors and the broker are killed -9 at moments that the seed draws, counted in starts of
tasks; some conductors at the instant at which the last member of a group has its done record. In the
end every callback must have exactly one done record, and none may have started before its last member's.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import msgspec

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.model.record import Done
from natsume.testing import until

from .group_account import Kill, Report, account
from .group_actors import KINDS
from .group_installation import MEMBERS, GroupInstallation

AIMS = ("worker", "conductor", "broker", "between")
AT_ONCE = 12


class Storm:
    """Kills what the seed says, when the seed says."""

    def __init__(self, installation: GroupInstallation, seed: int) -> None:
        self._installation = installation
        self._rng = Random(seed)
        self.kills: list[Kill] = []
        self._missing: dict[str, set[str]] = {}
        self._armed = False
        installation.broker.wire.listen("record.done.*.*", self._on_done)

    async def rage(self, each: int, starts: int) -> None:
        """Kill each kind so often, spread over about so many starts."""
        journal, aims = self._installation.journal, list(AIMS) * each
        self._rng.shuffle(aims)
        moments = sorted(self._rng.sample(range(MEMBERS, starts), len(aims)))
        for aim, moment in zip(aims, moments, strict=True):
            await until(journal.started, lambda tasks, moment=moment: len(tasks) >= moment, within_s=60.0)
            await getattr(self, f"_kill_{aim}")()

    async def _kill_worker(self) -> None:
        worker = self._rng.choice(await until(self._installation.live_workers))
        await self._kill("worker", {worker.pid}, worker.kill())

    async def _kill_conductor(self) -> None:
        conductor = self._rng.choice(await until(self._installation.live_conductors))
        await self._kill("conductor", {conductor.pid}, conductor.kill())

    async def _kill_broker(self) -> None:
        await self._kill("broker", {self._installation.server.pid}, self._installation.restart_broker())

    async def _kill(self, what: str, pids: set[int], killing: Awaitable[None]) -> None:
        kill = Kill(what, time.time(), pids)
        self.kills.append(kill)
        await killing
        kill.over_at = time.time()

    async def _kill_between(self) -> None:
        """Wait for the next last member; its record had all conductors killed."""
        kills = len(self.kills)
        self._armed = True
        await until(lambda: len(self.kills), lambda count: count > kills, within_s=60.0)
        for conductor in self._installation.live_conductors():
            await conductor.kill()

    def _on_done(self, subject: bytes, _reply: bytes, body: bytes, _headers: bytes | None) -> None:
        done = msgspec.json.decode(body, type=Done)
        if done.join is None:
            return
        ended = self._missing.setdefault(done.join, set())
        ended.add(done.id)
        if len(ended) == MEMBERS and self._armed:
            self._armed = False
            conductors = [one for one in self._installation.conductors if one.process.returncode is None]
            for conductor in conductors:
                conductor.process.kill()
            now = time.time()
            self.kills.append(Kill("between", now, {one.pid for one in conductors}, now, done.join))


@asynccontextmanager
async def kept_up(installation: GroupInstallation) -> AsyncIterator[None]:
    """Start anew what has ended, as a supervisor does."""

    async def supervise() -> None:
        while True:
            installation.keep_up()
            await asyncio.sleep(0.05)

    supervisor = asyncio.create_task(supervise())
    try:
        yield
    finally:
        supervisor.cancel()


async def storm(installation: GroupInstallation, kinds: list[str], seed: int, each: int) -> Report:
    """Ask for groups of these kinds while everything is killed `each` times, and account for them."""
    began = time.monotonic()
    installation.keep_up()
    for process in (*installation.workers, *installation.conductors):
        await process.ready()
    await installation.witness()
    rage = Storm(installation, seed)
    async with kept_up(installation):
        await asyncio.gather(
            installation.ask_for(kinds, AT_ONCE),
            rage.rage(each, int(len(kinds) * MEMBERS * 0.85)),
        )
        await installation.all_finished(within_s=90.0)
    took_s = time.monotonic() - began
    return await account(installation, rage.kills, seed, took_s)


async def _main(count: int, seed: int, kind: str) -> int:
    kinds = [kind] * count if kind != "all" else (list(KINDS) * count)[:count]
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as folder:
        installation = GroupInstallation(server, Path(folder), ack_wait_s=2.0, seed=seed)
        try:
            report = await storm(await installation.open(), kinds, seed, each=max(3, count // 15))
        finally:
            await installation.close()
            server.kill()
    print(report)
    return bool(report.wrong)


if __name__ == "__main__":
    kind = sys.argv[3] if len(sys.argv) > 3 else "plain"
    sys.exit(asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]), kind)))
