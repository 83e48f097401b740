"""An installation with conductors to break, and the groups that were asked of it."""

import itertools
import subprocess
from collections.abc import Mapping
from pathlib import Path
from random import Random

import msgspec

from natsume.actors.registry import Registry
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.connecting import client_of
from natsume.exceptions import BrokerError
from natsume.model.record import child_id
from natsume.testing import until

from . import group_actors
from .installation import NATSUME, Installation, WorkerProcess

MEMBERS = 10
PROCESSES = 2
REGISTRY = Registry.of_classes(group_actors.ALL)


class ConductorProcess(WorkerProcess):
    """One `natsume conductor`."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as stderr:
            command = [str(NATSUME), "conductor"]
            self.process = subprocess.Popen(command, env=environment, stderr=stderr, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid

    async def ready(self) -> "ConductorProcess":
        def look() -> bool:
            assert self.alive, self.said()
            return "conductor ready" in self.said()

        await until(look)
        return self


class Asked(msgspec.Struct):
    """A group as it was asked for; `parent` made its members, `join` counts them."""

    number: int
    kind: str
    parent: str
    join: str

    @property
    def fires(self) -> bool:
        return self.kind != "unserialisable"

    @property
    def members(self) -> list[str]:
        return [child_id(self.parent, index) for index in range(MEMBERS)]

    @property
    def callback(self) -> str:
        return child_id(self.join, "callback")

    @property
    def alarm(self) -> str:
        return child_id(self.join, "failure")

    @property
    def last(self) -> str:
        """What runs when the group has come to its end."""
        return self.callback if self.fires else self.alarm

    @property
    def all(self) -> list[str]:
        """All that has a done record in the end."""
        return [self.parent, *self.members, self.last]


class GroupInstallation(Installation):
    """A server, workers and conductors, and a client that asks for groups."""

    def __init__(self, server: EmbeddedServer, folder: Path, ack_wait_s: float, seed: int = 0) -> None:
        super().__init__(server, folder, ack_wait_s)
        self.conductors: list[ConductorProcess] = []
        self.asked: list[Asked] = []
        self._rng = Random(seed)
        self._logs = itertools.count()
        self._install()

    async def open(self) -> "GroupInstallation":
        await super().open()
        self.client = client_of(self.broker, self.settings, REGISTRY)
        return self

    async def close(self) -> None:
        self.workers.extend(self.conductors)
        await super().close()

    def start_conductor(self) -> ConductorProcess:
        conductor = ConductorProcess(self.environment(), self.folder / f"conductor-{next(self._logs)}.log")
        self.conductors.append(conductor)
        return conductor

    def live_workers(self) -> list[WorkerProcess]:
        return [worker for worker in self.workers if worker.alive]

    def live_conductors(self) -> list[ConductorProcess]:
        return [conductor for conductor in self.conductors if conductor.alive]

    def keep_up(self) -> None:
        """Start what is missing, as a supervisor does: what starts while the broker is down ends with a clear line."""
        for _ in range(PROCESSES - len(self.live_workers())):
            self.start_worker()
        for _ in range(PROCESSES - len(self.live_conductors())):
            self.start_conductor()

    def gave_up(self) -> list[str]:
        """What each process said that ended by itself once it was ready."""
        ended = [one for one in (*self.workers, *self.conductors) if (one.process.poll() or 0) > 0]
        return [one.said()[-1000:] for one in ended if " ready" in one.said() or "Traceback" in one.said()]

    async def ask(self, kind: str, longest_s: float = 0.2) -> Asked:
        """Ask for a group of uneven members: in turn from a service, and from a task that spawns it."""
        number = len(self.asked)
        self.asked.append(Asked(number, kind, "", ""))
        seconds = [round(self._rng.random() ** 3 * longest_s, 3) for _ in range(MEMBERS)]
        if number % 2:
            parent = await self.client.submit(group_actors.Parent(number, kind, seconds))
            join = child_id(parent, "join-0")
        else:
            members = group_actors.members_of(number, kind, seconds)
            last = group_actors.Callback(number), group_actors.Alarm(number)
            join = await self.client.spawn_with_callback(members, last[0], on_failure=last[1])
            parent = await self._parent_of(join)
        asked = self.asked[number] = Asked(number, kind, parent, join)
        return asked

    async def ask_for(self, kinds: list[str], at_once: int, longest_s: float = 0.2) -> None:
        """Ask for groups one after the other, so that only so many are open."""
        for kind in kinds:
            await until(lambda: len(self.asked) - self.finished() < at_once, within_s=120.0)
            await self.ask(kind, longest_s)

    def finished(self) -> int:
        """Groups of which the callback has run, or the alarm of one that cannot fire."""
        return len({line.text for line in self.journal.lines("start") if line.text.startswith(("callback", "alarm"))})

    async def all_finished(self, within_s: float) -> None:
        """Wait until every group that was asked for has come to its end."""
        await until(self.finished, lambda count: count >= len(self.asked), within_s=within_s)

    async def _parent_of(self, join: str) -> str:
        """A service's group has a parent of its own, which its join names as soon as it is open."""

        async def look() -> str:
            try:
                found = await self.broker.joins.read([join])
            except BrokerError:
                return ""
            return found[join][0].parent if join in found else ""

        return await until(look, within_s=60.0)

    def _install(self) -> None:
        """Beside the other actors: a module and the metadata that names its entry points."""
        text = Path(group_actors.__file__).read_text().replace("from .actors", "from chaos_actors")
        (self.folder / "chaos_groups.py").write_text(text)
        info = self.folder / "chaos_groups-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chaos-groups\nVersion: 1.0\n")
        names = [actor.__name__ for actor in group_actors.ALL.values()]
        points = "".join(f"{name} = chaos_groups:{name}\n" for name in names)
        (info / "entry_points.txt").write_text(f"[natsume.tasks.groups]\n{points}")
