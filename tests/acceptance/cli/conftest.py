"""The command line as its users have it: real processes, a real broker, a distribution of actors."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from natsume.adapters.nats.embedded import EmbeddedServer

NATSUME = Path(sys.executable).parent / "natsume"
WITHIN_S = 30.0

ACTORS = """
    import asyncio
    from dataclasses import dataclass
    from natsume import BaseTask, MutexLock, Size

    @dataclass
    class Echo(BaseTask):
        text: str
        times: int = 1
        async def execute(self):
            return self.text * self.times

    class Fail(BaseTask):
        dlq_eligible = True
        async def execute(self):
            raise ValueError("boom")

    @dataclass
    class Locked(BaseTask):
        job: str
        seconds: float = 0
        @property
        def execution_locks(self):
            return [MutexLock("job", self.job, ttl_ms=1000)]
        async def execute(self):
            print("locked", flush=True)
            await asyncio.sleep(self.seconds)
            return "held"

    class Parent(BaseTask):
        async def execute(self):
            await Echo("child").schedule()

    class Large(BaseTask):
        size = Size.LARGE
        async def execute(self):
            await asyncio.sleep(3600)
"""
NAMES = ("Echo", "Fail", "Locked", "Parent", "Large")


@dataclass
class Ran:
    """What a finished command left."""

    code: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        return self.err.strip().splitlines()


class Running:
    """A command that goes on; its lines can be awaited."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (process.stdout, process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream) -> None:
        for line in stream:
            with self._more:
                self.lines.append(line.rstrip())
                self._more.notify_all()

    def until(self, text: str, count: int = 1) -> str:
        """The `count`th line that has this text, as soon as it is there."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        with self._more:
            there = self._more.wait_for(lambda: len(found()) >= count, WITHIN_S)
            assert there, f"no {text!r} in: {self.lines}"
            return found()[count - 1]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(WITHIN_S)
        for reader in self._readers:
            reader.join(WITHIN_S)
        return code


class Site:
    """A directory of distributions on PYTHONPATH."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, module: str, source: str, points: str) -> None:
        info = self.root / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (self.root / f"{module}.py").write_text(dedent(source))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(dedent(points))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    points = "\n".join(f"{name} = own_actors:{name}" for name in NAMES)
    site.add("own_actors", ACTORS, f"[natsume.tasks.own]\n{points}\n")
    return site


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server
        server.kill()  # nothing of it is kept


@pytest.fixture
def environ(site: Site, tmp_path: Path) -> dict[str, str]:
    """An environment without a broker: what listens there is nobody."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NATSUME_")}
    return kept | {
        "PYTHONPATH": os.pathsep.join([str(site.root), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "NATSUME_NATS_URL": "nats://127.0.0.1:1",
        "NATSUME_DATA_DIR": str(tmp_path / "data"),
        "COLUMNS": "200",
    }


@pytest.fixture
def online(environ: dict[str, str], server: EmbeddedServer) -> dict[str, str]:
    """The environment with a broker."""
    environ["NATSUME_NATS_URL"] = server.url
    return environ


@pytest.fixture
def natsume(environ: dict[str, str]) -> Callable[..., Ran]:
    """Run a command to its end."""

    def run(*arguments: str, stdin: str = "", **variables: str) -> Ran:
        done = subprocess.run(
            [NATSUME, *arguments],
            env=environ | variables,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def start(environ: dict[str, str]) -> Iterator[Callable[..., Running]]:
    """Start a command that goes on; it is killed at the end of the test."""
    started: list[Running] = []

    def run(*arguments: str, **variables: str) -> Running:
        process = subprocess.Popen(
            [NATSUME, *arguments],
            env=environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(Running(process))
        return started[-1]

    yield run
    for one in started:
        one.process.kill()
        one.wait()
        one.process.stdout.close()
        one.process.stderr.close()
