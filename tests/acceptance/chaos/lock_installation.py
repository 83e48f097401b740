"""An installation whose workers hold locks and write to a database under their tokens."""

import sqlite3
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from natsume.actors.registry import Registry
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.connecting import client_of
from natsume.exceptions import BrokerError
from natsume.testing import until

from . import lock_actors
from .group_installation import ConductorProcess
from .installation import Installation, Line, WorkerProcess

REGISTRY = Registry.of_classes(lock_actors.ALL)
KEYS = tuple(f"{kind}-{key}" for kind in ("mutex", "writer") for key in ("x", "y"))
SKEWED = """
import os, time
_time, _ahead_s = time.time, float(os.environ.get("CHAOS_AHEAD_S", "0"))
time.time = lambda: _time() + _ahead_s
time.time_ns = lambda: int(time.time() * 1e9)
"""


class LockInstallation(Installation):
    """A server, workers that may be behind a proxy or have a wrong clock, and what was written to the database."""

    def __init__(self, server: EmbeddedServer, folder: Path, ack_wait_s: float = 1.0) -> None:
        self._bank = folder / "bank.db"
        self._ahead_s: dict[int, float] = {}
        database = f"sqlite+aiosqlite:///{self._bank}"
        super().__init__(server, folder, ack_wait_s, NATSUME_DB_URL_BANK_DB=database, NATSUME_MAX_CRASHES="100")
        self._install()

    async def open(self) -> "LockInstallation":
        await super().open()
        self.client = client_of(self.broker, self.settings, REGISTRY)
        with sqlite3.connect(self._bank) as bank:
            bank.execute("PRAGMA journal_mode = WAL")
            bank.execute("CREATE TABLE accounts (key VARCHAR PRIMARY KEY, fence BIGINT)")
            bank.execute("CREATE TABLE writes (number INTEGER PRIMARY KEY, key VARCHAR, token BIGINT, task VARCHAR)")
            bank.executemany("INSERT INTO accounts VALUES (?, 0)", [(key,) for key in KEYS])
        bank.close()
        return self

    async def restart_broker(self) -> None:
        """Kill the server as a crash would, and start it again; returns when it answers."""
        await super().restart_broker()
        await until(self.answers)

    async def answers(self) -> bool:
        """Whether the broker answers."""
        try:
            return bool(await self.broker.stream_info("TASKS"))
        except BrokerError:
            return False

    def writes(self) -> dict[str, list[tuple[int, str]]]:
        """Tokens and tasks of what was written, in the database's order, by lock."""
        with sqlite3.connect(self._bank) as bank:
            rows = bank.execute("SELECT key, token, task FROM writes ORDER BY number").fetchall()
        bank.close()
        written = defaultdict(list)
        for key, token, task in rows:
            written[key].append((token, task))
        return dict(written)

    def bank_is_open(self) -> bool:
        """Whether somebody can write to the database soon."""
        bank = sqlite3.connect(self._bank, timeout=0.5, isolation_level=None)
        try:
            bank.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        finally:
            bank.close()
        return True

    def start_worker(self, concurrency: int = 10, ahead_s: float = 0.0, **environment: str) -> WorkerProcess:
        """Start one whose wall clock is this far ahead."""
        worker = super().start_worker(concurrency, CHAOS_AHEAD_S=str(ahead_s), **environment)
        self._ahead_s[worker.pid] = ahead_s
        return worker

    def true_time(self, line: Line) -> float:
        """When a line of the journal was written, by the clock of this process."""
        return line.at - self._ahead_s[line.pid]

    def start_conductor(self) -> ConductorProcess:
        """Start one, to wake who waits for what has ended."""
        conductor = ConductorProcess(self.environment(), self.folder / f"conductor-{len(self.workers)}.log")
        self.workers.append(conductor)
        return conductor

    def worker_of(self, task: str) -> WorkerProcess:
        """Where a task runs."""
        (found,) = [worker for worker in self.workers if worker.alive and task in self.journal.running(worker.pid)]
        return found

    def _install(self) -> None:
        text = Path(lock_actors.__file__).read_text().replace("from .actors", "from chaos_actors")
        (self.folder / "chaos_locks.py").write_text(text)
        (self.folder / "sitecustomize.py").write_text(SKEWED)
        info = self.folder / "chaos_locks-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chaos-locks\nVersion: 1.0\n")
        points = "".join(
            f"{name.partition(':')[2]} = chaos_locks:{name.partition(':')[2]}\n" for name in lock_actors.ALL
        )
        (info / "entry_points.txt").write_text(f"[natsume.tasks.chaos_locks]\n{points}")


def backwards(written: dict[str, list[tuple[int, str]]]) -> list[str]:
    """Writes under a token that is not higher than that before: there must be none, for each run writes once."""
    found = []
    for key, rows in written.items():
        tokens = [token for token, _ in rows]
        found += [f"{key}: {later} after {first}" for first, later in pairwise(tokens) if later <= first]
    return found


def beside_each_other(lines: list[Line], permits: int = 1) -> int:
    """How often more were inside than may; readers are so among themselves."""
    inside: dict[str, str] = {}
    found = 0
    for line in sorted(lines):
        if line.what == "start":
            inside[line.task] = line.text
            together = list(inside.values())
            found += len(together) > permits and set(together) != {"reader"}
        elif line.what == "end":
            inside.pop(line.task, None)
    return found
