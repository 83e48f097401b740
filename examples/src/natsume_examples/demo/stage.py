"""The demo's stage: a broker, the databases and two workers, all of them gone at the end."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from natsume.adapters.nats import topology
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.databases import dispose_engines
from natsume.exceptions import NatsumeError
from natsume.settings import Settings
from natsume.testing import until
from natsume_examples.demo.plan import Plan
from natsume_examples.owners.db import OwnersDB
from natsume_examples.owners.directory import Directory
from natsume_examples.pilots.db import PilotsDB

ACK_WAIT_S: Final = 2.0
CONCURRENCY: Final = 10
_READY_S: Final = 20.0
_STOP_S: Final = 10.0
_LOG_TAIL: Final = 2000
_DATABASES: Final = (OwnersDB, Directory, PilotsDB)


class WorkerEnded(NatsumeError):
    """A worker ended that should run."""


@dataclass
class WorkerProcess:
    """A `natsume worker`, known to the log by one letter."""

    letter: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def name(self) -> str:
        """What it calls itself in the records."""
        return f"{socket.gethostname()}-{self.process.pid}"

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Let it finish what it runs; its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise WorkerEnded(f"worker {self.letter} did not stop within {_STOP_S:g} s") from None

    def check(self) -> None:
        """Raise WorkerEnded, with what it said last, if it is not running."""
        if self.process.poll() is not None:
            said = self.log.read_text(errors="replace")[-_LOG_TAIL:]
            raise WorkerEnded(f"worker {self.letter} ended with exit code {self.process.returncode}: {said}")


@dataclass
class Stage:
    """What the demo plays on."""

    settings: Settings
    server: EmbeddedServer
    broker: Broker
    folder: Path
    workers: list[WorkerProcess] = field(default_factory=list)

    async def start_workers(self, letters: str) -> None:
        """Start a worker for each letter; returns when all of them wait for work."""
        for letter in letters:
            self.workers.append(_spawn(letter, self.folder))

        async def waiting() -> int:
            for worker in self.workers:
                worker.check()
            answer = await self.broker.request("$JS.API.CONSUMER.INFO.TASKS.normal-small", b"")
            return int(msgspec.json.decode(answer)["num_waiting"])

        await until(waiting, lambda count: count >= len(self.workers), within_s=_READY_S)

    async def tasks_left(self) -> int:
        """How many messages are in the stream TASKS."""
        return int((await self.broker.stream_info("TASKS"))["state"]["messages"])


@asynccontextmanager
async def staged(plan: Plan) -> AsyncIterator[Stage]:
    """A broker with an empty store, its topology, and the databases as the plan wants them."""
    async with AsyncExitStack() as open_now:
        folder = Path(open_now.enter_context(tempfile.TemporaryDirectory(prefix="natsume-demo-")))
        server = await open_now.enter_async_context(EmbeddedServer(store_dir=folder / "nats"))
        settings = Settings(nats_url=server.url, ack_wait_s=ACK_WAIT_S, data_dir=folder)
        open_now.enter_context(_environment(server.url, folder))
        open_now.push_async_callback(dispose_engines)
        await _fill_databases(plan)
        broker = await Broker.connect(settings, name="natsume demo")
        open_now.push_async_callback(broker.close)
        await topology.apply(broker.request, ack_wait_s=ACK_WAIT_S)
        await broker.refresh()
        stage = Stage(settings, server, broker, folder)
        open_now.callback(_end, stage.workers)
        yield stage


@contextmanager
def _environment(url: str, folder: Path) -> Iterator[None]:
    """The same settings for this process and the workers, until the end of the block."""
    before = dict(os.environ)
    os.environ |= {
        "NATSUME_NATS_URL": url,
        "NATSUME_DATA_DIR": str(folder),
        "NATSUME_ACK_WAIT_S": f"{ACK_WAIT_S:g}",
        **{db.url_variable(): f"sqlite+aiosqlite:///{folder}/{db.__name__}.sqlite" for db in _DATABASES},
    }
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


async def _fill_databases(plan: Plan) -> None:
    async with Directory.transaction() as directory:
        for entry in plan.entries:
            await directory.add(entry.owner, latency_s=entry.latency_s, outages=entry.outages)
    async with PilotsDB.transaction() as pilots:
        await pilots.add(plan.elements)


def _spawn(letter: str, folder: Path) -> WorkerProcess:
    command = [str(Path(sys.executable).parent / "natsume"), "worker"]
    command += ["--size", "small", "--concurrency", str(CONCURRENCY)]
    log = folder / f"worker-{letter}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    return WorkerProcess(letter, log, process)


def _end(workers: list[WorkerProcess]) -> None:
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


async def stop_workers(stage: Stage) -> None:
    """Stop what runs, as a deployment would; raises WorkerEnded if one does not end well."""
    for worker in stage.workers:
        if worker.process.returncode is None:
            code = await asyncio.to_thread(worker.stop)
            if code:
                raise WorkerEnded(f"worker {worker.letter} stopped with exit code {code}")
