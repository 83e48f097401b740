"""An installation to break: a real server, real worker processes, and what can be seen of them from outside."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import msgspec

from natsume.actors.registry import Registry
from natsume.adapters.nats import topology
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.client import Client
from natsume.connected import connected
from natsume.connecting import client_of
from natsume.exceptions import Disconnected
from natsume.model.record import Done
from natsume.settings import Settings
from natsume.testing import until

from . import actors

NATSUME = Path(sys.executable).with_name("natsume")
REGISTRY = Registry.of_classes(actors.ALL)
RECORDS_AT_ONCE = 500


class Line(NamedTuple):
    """One line of the journal."""

    at: float
    pid: int
    what: str
    task: str
    attempt: int
    text: str


class Journal:
    """What the actors did."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._lines: list[Line] = []
        self._open: dict[int, Counter[str]] = defaultdict(Counter)
        self._started: set[str] = set()
        self._read_to = 0

    def lines(self, what: str | None = None, task: str | None = None) -> list[Line]:
        self._read()
        return [line for line in self._lines if what in (None, line.what) and task in (None, line.task)]

    def running(self, pid: int) -> set[str]:
        """What has started and not ended in a process."""
        self._read()
        return set(+self._open[pid])

    def starts(self) -> Counter[str]:
        return Counter(line.task for line in self.lines("start"))

    def started(self) -> set[str]:
        self._read()
        return set(self._started)

    def _read(self) -> None:
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in (Line(*json.loads(text)) for text in whole.splitlines()):
            self._lines.append(line)
            if line.what == "start":
                self._started.add(line.task)
            self._open[line.pid][line.task] += {"start": 1, "end": -1}.get(line.what, 0)


class WorkerProcess:
    """One `natsume worker`."""

    def __init__(self, environment: Mapping[str, str], arguments: Iterable[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as stderr:
            command = [str(NATSUME), "worker", "--log-format", "json", *arguments]
            self.process = subprocess.Popen(command, env=environment, stderr=stderr, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    async def ready(self, line: str = "worker ready") -> "WorkerProcess":
        def look() -> bool:
            assert self.alive, self.said()
            return line in self.said()

        await until(look)
        return self

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, within_s: float = 60.0) -> int:
        return await asyncio.to_thread(self.process.wait, within_s)

    async def kill(self) -> None:
        self.send(signal.SIGKILL)
        await self.ended()

    async def freeze(self) -> None:
        """Stop it; returns when it has stopped."""
        self.send(signal.SIGSTOP)
        state = Path(f"/proc/{self.pid}/stat")
        await until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")

    def memory_mb(self) -> float:
        resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert resident is not None
        return int(resident[1]) / 1024


class Installation:
    """A server, its workers and a client; whoever makes one closes it."""

    def __init__(self, server: EmbeddedServer, folder: Path, ack_wait_s: float, **environment: str) -> None:
        self.server = server
        self.folder = folder
        self.ack_wait_s = ack_wait_s
        self._environment = environment
        self.journal = Journal(folder / "journal")
        self.settings = Settings.read(self.environment())
        self.workers: list[WorkerProcess] = []
        self.broker: Broker
        self.client: Client
        self._connected: Any = None
        distribution(folder)

    async def open(self) -> "Installation":
        self._connected = connected(self.settings, name="natsume chaos")
        self.broker = await self._connected.__aenter__()
        await topology.apply(self.broker.request, ack_wait_s=self.ack_wait_s)
        self.client = client_of(self.broker, self.settings, REGISTRY)
        return self

    async def close(self) -> None:
        for worker in self.workers:
            if worker.alive:
                worker.send(signal.SIGKILL)
            await worker.ended()
        if self._connected is not None:
            await self.client.ledger.close()
            await self._connected.__aexit__(None, None, None)

    def environment(self, **more: str) -> dict[str, str]:
        return os.environ | {
            "NATSUME_NATS_URL": self.server.url,
            "NATSUME_ACK_WAIT_S": f"{self.ack_wait_s:g}",
            "NATSUME_GRACE_S": "5",
            "NATSUME_DATA_DIR": str(self.folder / "data"),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(self.folder), os.environ.get("PYTHONPATH")))),
            actors.JOURNAL: str(self.journal.path),
            **self._environment,
            **more,
        }

    def start_worker(self, concurrency: int = 10, processes: int = 1, **environment: str) -> WorkerProcess:
        arguments = ("--concurrency", str(concurrency), "--processes", str(processes))
        log = self.folder / f"worker-{len(self.workers)}.log"
        worker = WorkerProcess(self.environment(**environment), arguments, log)
        self.workers.append(worker)
        return worker

    async def restart_broker(self) -> None:
        """Kill the server as a crash would, and start it again."""
        await asyncio.to_thread(self.server.kill)
        await asyncio.to_thread(self.server.start)

    async def done_ids(self) -> set[str]:
        info = await self.broker.stream_info("RECORDS", subjects_filter="record.done.>")
        return {subject.rpartition(".")[2] for subject in info["state"].get("subjects") or ()}

    async def all_done(self, ids: Iterable[str], within_s: float = 60.0) -> dict[str, tuple[float, Done]]:
        """The done record of each task and when the server stored it, as soon as all stand."""
        wanted = set(ids)

        async def missing() -> list[str]:
            try:
                return sorted(wanted - await self.done_ids())[:5]
            except Disconnected:
                return ["the broker is away"]

        await until(missing, lambda left: not left, within_s=within_s)
        return await self.records(wanted)

    async def records(self, ids: Iterable[str]) -> dict[str, tuple[float, Done]]:
        names = [f"record.done.*.{task}" for task in ids]
        reader = self.broker._records_reader
        found = {}
        for first in range(0, len(names), RECORDS_AT_ONCE):
            for stored in await reader.last(names[first : first + RECORDS_AT_ONCE]):
                record = msgspec.json.decode(stored.body, type=Done)
                found[record.id] = (unix(stored.at), record)
        return found

    async def witness(self) -> None:
        """Have every done record copied to a stream that forgets none, so that a second one would be seen.

        Not by a mirror: that answers direct gets in the place of RECORDS, and knows nothing but done records.
        """
        source = {"name": "RECORDS", "filter_subject": "record.done.>"}
        body = {"name": "WITNESS", "storage": "file", "sources": [source]}
        answer = await self.broker.request("$JS.API.STREAM.CREATE.WITNESS", msgspec.json.encode(body))
        assert b'"error"' not in answer, answer

    async def witnessed(self, at_least: int) -> Counter[str]:
        """How many done records were ever written, by task."""
        counts: Counter[str] = Counter()

        async def look() -> int:
            info = await self.broker.stream_info("WITNESS", subjects_filter=">")
            counts.clear()
            for subject, count in (info["state"].get("subjects") or {}).items():
                counts[subject.rpartition(".")[2]] += count
            return sum(counts.values())

        await until(look, lambda count: count >= at_least)
        return counts

    async def pending(self, lane: str = "normal-small") -> dict[str, Any]:
        return json.loads(await self.broker.request(f"$JS.API.CONSUMER.INFO.TASKS.{lane}", b""))


class Wiretap:
    """Sees each delivery and each answer to it on the server, and so knows what each worker has in hand."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._in_hand: dict[int, dict[bytes, str]] = defaultdict(dict)
        self._routes: dict[int, list[int]] = defaultdict(list)
        installation.broker.wire.listen("$JS.ACK.>", self._answered)

    async def watch(self, worker: WorkerProcess) -> WorkerProcess:
        """Listen to the inboxes of a worker that is ready."""
        delivered = partial(self._delivered, self._in_hand[worker.pid])
        for inbox in await asyncio.to_thread(self._inboxes, worker.pid):
            self._routes[worker.pid].append(self._installation.broker.wire.listen(inbox, delivered))
        return worker

    async def ignore(self, worker: WorkerProcess) -> None:
        """Listen no more: to the server, a listener is someone who takes the deliveries."""
        wire = self._installation.broker.wire
        for route in self._routes.pop(worker.pid):
            wire.unlisten(route)
        await wire.flush()

    def in_hand(self, worker: WorkerProcess) -> set[str]:
        return set(self._in_hand[worker.pid].values())

    def _inboxes(self, pid: int) -> set[str]:
        with urlopen(f"{self._installation.server.monitor_url}/connz?subs=1") as answer:
            connections = json.load(answer)["connections"]
        ours = [one for one in connections if one.get("name", "").endswith(f"-{pid}")]
        return {inbox for one in ours for inbox in one.get("subscriptions_list") or ()}

    @staticmethod
    def _delivered(held: dict[bytes, str], _subject: bytes, reply: bytes, _body: bytes, headers: bytes | None) -> None:
        if reply.startswith(b"$JS.ACK.TASKS."):
            found = re.search(rb"ce-id: (\S+)", headers or b"")
            held[reply] = found[1].decode() if found else ""

    def _answered(self, subject: bytes, _reply: bytes, body: bytes, _headers: bytes | None) -> None:
        if body != b"+WPI":
            for held in self._in_hand.values():
                held.pop(subject, None)


def distribution(folder: Path) -> None:
    """Install the actors in a folder: a module and the metadata that names its entry points."""
    (folder / "chaos_actors.py").write_text(Path(actors.__file__).read_text())
    info = folder / "chaos_actors-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chaos-actors\nVersion: 1.0\n")
    points = "".join(f"{actor.__name__} = chaos_actors:{actor.__name__}\n" for actor in actors.ALL.values())
    (info / "entry_points.txt").write_text(f"[natsume.tasks.chaos]\n{points}")


def unix(stamp: str) -> float:
    """The server's time stamp, which has nanoseconds, as Unix seconds."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    seconds = time.mktime(time.strptime(f"{whole} UTC", "%Y-%m-%dT%H:%M:%S %Z")) - time.timezone
    return seconds + float(f"0.{fraction or 0}")
