"""An installation whose workers run tasks in slots, and the processes below them."""

from pathlib import Path

import psutil

from natsume.actors.registry import Registry
from natsume.connecting import client_of

from . import slot_actors
from .installation import Installation, WorkerProcess

REGISTRY = Registry.of_classes(slot_actors.ALL)


class SlotInstallation(Installation):
    """A server, and workers of medium or large size."""

    async def open(self) -> "SlotInstallation":
        await super().open()
        self._install()
        self.client = client_of(self.broker, self.settings, REGISTRY)
        return self

    def start(self, size: str, concurrency: int) -> WorkerProcess:
        """Start a worker of a size."""
        arguments = ("--size", size, "--concurrency", str(concurrency))
        worker = WorkerProcess(self.environment(), arguments, self.folder / f"worker-{len(self.workers)}.log")
        self.workers.append(worker)
        return worker

    def slots_of(self, worker: WorkerProcess) -> list[psutil.Process]:
        """The slot processes of a worker: the children of its template."""
        return [slot for template in self.templates_of(worker) for slot in _children(template)]

    def templates_of(self, worker: WorkerProcess) -> list[psutil.Process]:
        """The processes that its slots are forked from: one, or none for a moment."""
        return psutil.Process(worker.pid).children()

    def running(self, worker: WorkerProcess) -> list[tuple[int, str]]:
        """Which slot of a worker runs which task."""
        return [(slot.pid, task) for slot in self.slots_of(worker) for task in self.journal.running(slot.pid)]

    def family_of(self, worker: WorkerProcess) -> list[psutil.Process]:
        """All processes below a worker."""
        return psutil.Process(worker.pid).children(recursive=True)

    def _install(self) -> None:
        text = Path(slot_actors.__file__).read_text().replace("from .actors", "from chaos_actors")
        (self.folder / "chaos_slots.py").write_text(text)
        info = self.folder / "chaos_slots-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chaos-slots\nVersion: 1.0\n")
        points = "".join(f"{cls.__name__} = chaos_slots:{cls.__name__}\n" for cls in slot_actors.ALL.values())
        (info / "entry_points.txt").write_text(f"[natsume.tasks.chaos_slots]\n{points}")


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them have ended; one that only waits to be reaped has."""
    return not any(map(_lives, processes))


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two
        return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []
