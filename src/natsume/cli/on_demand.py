"""The broker of a task that runs at a terminal: connected when it is first needed, for locks and for children."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from natsume.exceptions import NatsumeError
from natsume.locks import BaseLock
from natsume.model.lock import Blocked, Holding, Want
from natsume.model.task import Task
from natsume.ports import Lease
from natsume.runtime.holder import Holder
from natsume.runtime.keepalive import Keepalive, Lifeline
from natsume.runtime.run import Run
from natsume.runtime.watch import Watch
from natsume.service.tracking import track
from natsume.settings import Settings

if TYPE_CHECKING:  # a task without locks or children must not pay for it
    from natsume.adapters.nats.broker import Broker

_NAME: Final = "natsume call"


class ByHand(Run, eq=False):
    """A run without a delivery: losing a lock interrupts it at once."""

    def lease_gone(self) -> None:
        """Stop the task, which may no longer do what the lock allowed."""
        self.lost = True
        self.interrupt("lease")


class OnDemand:
    """What a run has of the broker: it connects for the first lock or child, or not at all."""

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings = settings
        self._run = run
        self._stack = AsyncExitStack()
        self._broker: Broker | None = None
        self._watch: Watch | None = None
        self._holder: Holder | None = None

    async def aclose(self) -> None:
        """Stop the renewals and disconnect."""
        await self._stack.aclose()

    @asynccontextmanager
    async def locked(self, locks: Iterable[BaseLock]) -> AsyncIterator[None]:
        """Hold these; raises NatsumeError that names the holder of one that is taken."""
        async with AsyncExitStack() as held:
            for lock in sorted(set(locks)):
                await self._take(lock, held)
            if self._run.leases:
                await self._keep_leases()
            yield

    async def hold(self, want: Want, wait_s: float) -> int:
        """Take a lock inside execute(); the first one brings the connection and the thread that renews it."""
        if self._holder is None:
            broker = await self.connected()
            if self._watch is None:
                await self._keep_leases()
            assert self._watch is not None
            self._holder = Holder(broker.leases, self._run, self._watch, broker.now)
        return await self._holder.hold(want, wait_s)

    async def give_back(self, want: Want) -> None:
        """Give back what was taken last of this lock."""
        assert self._holder is not None, "held before"
        await self._holder.give_back(want)

    async def connected(self) -> "Broker":
        """The connection, opened now if it is not."""
        if self._broker is None:
            from natsume.connected import connected  # noqa: PLC0415 - a task without locks needs no broker

            name = f"{_NAME} {self._settings.worker}"
            self._broker = await self._stack.enter_async_context(connected(self._settings, name=name))
        return self._broker

    async def submit(self, task: Task, due: float | None) -> None:
        """Send a task at once, or at its time."""
        broker = await self.connected()
        await track(broker.outgoing, [task], broker.now(), due)
        await (broker.outgoing.submit(task) if due is None else broker.outgoing.arm(task, due))

    async def _take(self, lock: BaseLock, held: AsyncExitStack) -> None:
        broker = await self.connected()
        # As one that comes now, so that it takes nothing that is kept for a task that waits.
        holding = Holding(self._run.nonce, self._run.delivery.task.id, broker.now(), worker=self._settings.worker)
        lease = await broker.leases.acquire(lock.want, holding)
        if isinstance(lease, Blocked):
            raise NatsumeError(_refused(lock, lease))
        self._run.leases.append(lease)
        held.push_async_callback(self._release, lease)

    async def _release(self, lease: Lease) -> None:
        assert self._broker is not None
        if self._watch is not None:
            self._watch.drop_lease(lease)
        self._run.leases.remove(lease)
        await self._broker.leases.release(lease)

    async def _keep_leases(self) -> None:
        """Renew from a thread, so that a debugger that blocks this one loses no lock."""
        from natsume.adapters.nats.broker import Broker  # noqa: PLC0415 - without locks there is none
        from natsume.adapters.nats.lifeline import NatsLifeline  # noqa: PLC0415

        async def line() -> Lifeline:
            return NatsLifeline(await Broker.connect(self._settings, name=f"{_NAME} {self._settings.worker}"))

        self._watch = watch = Watch({}, asyncio.get_running_loop())
        watch.beat = float("inf")  # a person may think as long as they like
        for lease in self._run.leases:
            watch.add_lease(lease, self._run)
        keepalive = Keepalive(watch, line, self._settings.ack_wait_s)
        await keepalive.start()
        self._stack.push_async_callback(keepalive.stop)


def _refused(lock: BaseLock, blocked: Blocked) -> str:
    """Who has a lock, and what to do."""
    since = datetime.fromtimestamp(blocked.since, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    worker = f" on worker {blocked.worker}" if blocked.worker else ""
    run = f" (run {blocked.holder})" if blocked.holder else ", which is on its way to a worker,"
    what = f"{lock.lock_key} is held by task {blocked.task}{run}{worker} since {since}"
    return f"{what}; try again when that has ended, or see `natsume locks show {lock.lock_key}`"
