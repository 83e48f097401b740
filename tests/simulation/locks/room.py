"""Tasks that take locks, as processes that advance one step at a time, and what must hold of them.

The code that runs is the adapter's own, over a model of the broker. A process may crash between any two
of its steps; a worker's clock is off by minutes; what was delivered and not dealt with comes back.
"""

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

import msgspec

from natsume.adapters.nats.direct import Stored
from natsume.adapters.nats.leases import KvLeases
from natsume.adapters.nats.line import Line as Waiting
from natsume.core import outcome, waiting
from natsume.enums import Priority, Size
from natsume.model import times
from natsume.model.lock import Blocked, Hold, Holding, Mode, Want
from natsume.model.subject import Lane, parked_filter
from natsume.model.task import Task
from natsume.ports import Lease

from .broker import START, Broker, Line, turn
from .clock import be_at, monotonic
from .process import HOLDS, Broken, Process

ACK_WAIT_S = 30.0
CLOCKS = (0.0, 420.0, -600.0)
ENDS_WITHIN_S = 3 * times.FALL_BACK_LAST_S


class Room:
    """Some tasks, the locks they want, and all that goes on."""

    adapter: type[KvLeases] = KvLeases

    def __init__(self, wants: dict[str, tuple[Priority, list[Want]]]) -> None:
        self.broker = Broker()
        self.broker.on_ready = self._ready
        self.broker.on_woken = self._woken
        self.broker.on_entry = self._entry
        self.wants = {name: sorted(given, key=lambda want: (want.key, want.mode)) for name, (_, given) in wants.items()}
        self.lane = [self._task(name, rank) for name, (rank, _) in wants.items()]
        self.coming_back: list[tuple[float, Task]] = []
        self.processes: list[Process] = []
        self.done: set[str] = set()
        self.calm = True
        self._names = 0
        self._asked: set[str] = set()
        self._tokens: dict[str, set[int]] = {}

    # what may happen

    def deliver(self, number: int, worker: int) -> None:
        """Bring a ready task to a worker."""
        task = self.lane.pop(number)
        self._start(task.id, worker, task, lambda process: self._run(process, task))

    def step(self, process: Process) -> None:
        """Let one step of a process happen; one that holds its locks ends its task."""
        be_at(lambda: self._monotonic(process.worker))
        try:
            process.at = process.life.send(None)
        except StopIteration:
            self.processes.remove(process)
        self._check()

    def crash(self, process: Process) -> None:
        """End a process where it is; its task comes back."""
        self.calm = False
        self.processes.remove(process)
        process.life.close()
        if process.task is not None:
            self.coming_back.append((self.broker.now + ACK_WAIT_S, process.task))

    def renew(self, process: Process) -> None:
        """Renew the leases of one that holds them, from beside."""
        if process.renewed in self.processes:
            return
        for lease in process.leases[:1]:
            process.renewed = self._start(
                "renewal", process.worker, None, lambda _, lease=lease: self._renew(process, lease)
            )

    def advance(self, seconds: float) -> None:
        """Let time go by; who held a lock for too long without a renewal has lost it."""
        ended = self.broker.advance(seconds)
        self.calm = self.calm and not ended
        now = self.broker.now
        for at, task in [one for one in self.coming_back if one[0] <= now]:
            self.coming_back.remove((at, task))
            self.lane.append(task)
        self._check()

    def finish(self, within_s: float) -> None:
        """No more faults: all that wait must get their locks within this time."""
        ends = self.broker.now + within_s
        while len(self.done) < len(self.wants):
            while self.processes or self.lane:
                while self.lane:
                    self.deliver(0, 0)
                for process in list(self.processes):
                    self.step(process)
            if self.broker.now > ends:
                raise Broken(f"who waits gets the lock: {set(self.wants) - self.done} wait, {self._picture()}")
            if len(self.done) < len(self.wants):
                self.advance(1.0)

    def close(self) -> None:
        """End all that has not ended."""
        for process in self.processes:
            process.life.close()

    # what a process does

    async def _run(self, process: Process, task: Task) -> None:
        """As a worker: all locks or none; who is refused waits in the line of the first that refused."""
        leases = self._leases()
        holding = Holding(process.name, task.id, self._since(task), worker=str(process.worker))
        refused: Blocked | None = None
        for want in self.wants[task.id]:
            if refused is not None:
                if task.waits:
                    await leases.wake(want.key, given_up_by=task.id)
                continue
            got = await leases.acquire(want, holding, waited=task.waits > 0)
            if isinstance(got, Lease):
                self._takes(process, got)
            else:
                refused = got
        if refused is None and task.id not in self.done:
            await turn(HOLDS)
            if not process.lost and all(lease.until > monotonic() for lease in process.leases):
                self.done.add(task.id)
            else:
                self.coming_back.append((self.broker.now, task))
        process.at = ""
        while process.leases:
            await leases.release(process.leases.pop())
        if refused is not None:
            parked = outcome.parked(task, self.broker.now)
            until = waiting.falls_back_at(task, refused, self.broker.now)
            await leases.park(parked, refused, until)

    async def _renew(self, process: Process, lease: Lease) -> None:
        if not await self._leases().renew(lease) and lease in process.leases:
            process.lost = True

    def _leases(self) -> KvLeases:
        connection = Line(self.broker)
        line = Waiting(connection, connection)  # type: ignore[arg-type]
        return self.adapter(connection, connection, connection.request, line, lambda: self.broker.now)  # type: ignore[arg-type]

    def _takes(self, process: Process, lease: Lease) -> None:
        used = self._tokens.setdefault(lease.want.key, set())
        if lease.token in used:
            raise Broken(f"no token twice: {lease.key} has {lease.token}")
        alone = lease.want.mode is Mode.EXCLUSIVE or (lease.want.permits == 1 and lease.want.mode is Mode.PERMIT)
        if alone and lease.until > monotonic() and lease.token < max(used, default=0):
            raise Broken(f"tokens only grow: {lease.key} has {lease.token} after {used}")
        used.add(lease.token)
        process.leases.append(lease)

    # what must hold

    def _check(self) -> None:
        held: dict[str, list[Lease]] = {}
        for process in self.processes:
            for lease in process.leases if process.holds and not process.lost else ():
                if lease.until > self._monotonic(process.worker):
                    held.setdefault(lease.want.key, []).append(lease)
        for key, leases in held.items():
            writers = sum(lease.want.mode is Mode.EXCLUSIVE for lease in leases)
            if writers and len(leases) > 1:
                raise Broken(f"never a writer beside another: {key} {leases}")
            permits = leases[0].want.permits
            if leases[0].want.mode is Mode.PERMIT and len(leases) > permits:
                raise Broken(f"at most {permits}: {key} {leases}")
        if self.calm and not self.lane and all(process.holds for process in self.processes):
            self._nobody_waits_in_vain()

    def _nobody_waits_in_vain(self) -> None:
        for want in {want.key: want for wants in self.wants.values() for want in wants}.values():
            line = self._line_of(want)
            held = [lease for one in self.processes for lease in one.leases if lease.want.key == want.key]
            free = len(held) < want.permits if want.mode is Mode.PERMIT else not held
            if line and free:
                raise Broken(f"nobody waits for a free lock: {want.key}, {self._picture()}")

    def _entry(self, body: bytes) -> None:
        place = msgspec.json.decode(body, type=Holding)
        if place.hold is Hold.REQUESTED:
            self._asked.add(place.task)

    def _woken(self, stored: Stored) -> None:
        """Without faults, none of its rank that came first is passed by; a writer came when it asked."""
        _, line, rank, task, _ = stored.subject.split(".")
        if not self.calm or task in self._asked:
            return
        for name, message in self.broker.line.items():
            _, other_line, other_rank, other, _ = name.split(".")
            if (other_line, other_rank) == (line, rank) and message.stored.sequence < stored.sequence:
                places = [msgspec.json.decode(m.stored.body, type=Holding) for m in self.broker.entries.values()]
                if not any(place.task == other and place.hold is not Hold.REQUESTED for place in places):
                    raise Broken(f"first in, first out: {task} is woken before {other}")

    # the rest

    def _start(
        self, name: str, worker: int, task: Task | None, life: Callable[[Process], Coroutine[Any, Any, None]]
    ) -> Process:
        self._names += 1
        process = Process(f"{name}-{self._names}", worker, task, None)  # type: ignore[arg-type]
        process.life = life(process)
        self.processes.append(process)
        return process

    def _ready(self, stored: Stored) -> None:
        headers = stored.headers
        rank = headers.get("Nats-Schedule-Target", stored.subject).split(".")[1]
        task = self._task(headers["ce-id"], Priority(rank))
        since = headers.get("Natsume-Waiting-Since")
        self.lane.append(
            msgspec.structs.replace(
                task,
                hop=int(headers["Natsume-Hop"]),
                waits=int(headers["Natsume-Waits"]),
                waiting_since=datetime.fromisoformat(since).timestamp() if since else None,
            )
        )

    def _since(self, task: Task) -> float:
        return task.waiting_since if task.waiting_since is not None else self.broker.now

    def _monotonic(self, worker: int) -> float:
        return self.broker.now - START + 1_000 + CLOCKS[worker]

    def _line_of(self, want: Want) -> list[str]:
        waiting = {name: name.split(".") for name in self.broker.line}
        _, line, *_ = parked_filter(want.key).split(".")
        return [name for name, (_, at, _, task, _) in waiting.items() if at == line and task not in self.done]

    @staticmethod
    def _task(name: str, rank: Priority) -> Task:
        return Task(name, "room:Actor", Lane(rank, Size.SMALL), b"{}")

    def _picture(self) -> str:
        entries = {name: m.stored.body for name, m in self.broker.entries.items()}
        return f"entries {entries}, line {list(self.broker.line)}, {[(p.name, p.at) for p in self.processes]}"
