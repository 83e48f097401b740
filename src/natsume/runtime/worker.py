"""A worker: pulls the lanes of its size, runs what it gets, and stops without a trace."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Final

from natsume.actors.registry import Registry
from natsume.core.delivery import Delivery
from natsume.enums import Priority, Size
from natsume.exceptions import BrokerError
from natsume.model import times
from natsume.model.subject import Lane
from natsume.model.workers import WorkerState
from natsume.ports import Deliveries
from natsume.runtime.batch import Batch
from natsume.runtime.flagging import Flagging
from natsume.runtime.intake import Intake
from natsume.runtime.pace import Pace
from natsume.runtime.perform import Performer
from natsume.runtime.reaching import Execution, in_this_loop
from natsume.runtime.run import Run
from natsume.runtime.tally import Tally
from natsume.runtime.watch import Watch
from natsume.runtime.worker_ports import Ports
from natsume.settings import Settings

_log = logging.getLogger(__name__)

_SWEEP_S: Final = 0.05
_INTERRUPT_AGAIN_S: Final = 1.0

OpenLanes = Callable[[tuple[Lane, ...], Callable[[Delivery], None], Callable[[], None]], Deliveries]


def lanes_of(size: Size) -> tuple[Lane, ...]:
    """The lanes of one size, from most to least urgent."""
    return tuple(Lane(priority, size) for priority in Priority)


class Worker:
    """Runs tasks of one size, `concurrency` at a time, from `start` to `stop`."""

    def __init__(
        self,
        ports: Ports,
        open_lanes: OpenLanes,
        registry: Registry,
        settings: Settings,
        size: Size,
        concurrency: int,
        execution: Execution = in_this_loop,
    ) -> None:
        self._ports = ports
        self._open_lanes = open_lanes
        self._settings = settings
        self._lanes = lanes_of(size)
        self._loop = asyncio.get_running_loop()
        self.intake = Intake(self._lanes, concurrency, self._start, ports.now, registry.actors, self._start_batch)
        self.watch = Watch(self.intake.in_hand, self._loop)
        self.flagging = Flagging(self.watch)
        self.nonce = os.urandom(6).hex()
        self._tally = Tally(registry, size, settings.worker, self.nonce, ports.now)
        self._performer = Performer(
            ports, registry, settings, self.intake, self.watch, self.flagging, execution, self._tally.count
        )
        self._stopping = False
        self._runs = 0
        self._pace = Pace()
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()

    def start(self) -> None:
        """Pull and run until `stop`."""
        self._ports.deliveries = self._open_lanes(self._lanes, self.intake.arrived, self.intake.room)
        self._sweep()
        self.intake.begin(self._ports.deliveries)

    def state(self) -> WorkerState:
        """What it is and does now, for any thread."""
        return self._tally.state(self.intake, self.watch, stopping=self._stopping)

    def doubt(self) -> None:
        """Learn that the connection is lost: what has not started may come to others."""
        self.intake.doubt()
        for run in self.watch.runs.values():
            run.delivery.doubted = True

    def broker_restarted(self) -> None:
        """Learn that the broker is another run of the server: only what it brings now counts, what runs is noted."""
        self.watch.broker_restarted()
        self.intake.forget_doubted()

    async def stop(self, grace_s: float) -> None:
        """Give back what has not started, let what runs finish for `grace_s`, then interrupt it."""
        self._stopping = True
        for run in self.watch.runs.values():
            run.shut_down()
        for delivery in self.intake.close():
            self._give_back(delivery)
        await self._ports.deliveries.close(self._give_back)
        try:
            async with asyncio.timeout(grace_s):
                await self._until_idle()
        except TimeoutError:
            _log.warning("%d tasks did not finish within the grace period; they are interrupted", len(self.watch.runs))
            await self._interrupt_all()
        if self._timer is not None:
            self._timer.cancel()

    def _start(self, delivery: Delivery) -> None:
        run = self._run_of(delivery)
        run.driver = self._loop.create_task(self._drive(run))

    def _start_batch(self, deliveries: list[Delivery]) -> None:
        runs = [self._run_of(delivery) for delivery in deliveries]
        batch = Batch(self._performer, self._ports, self.intake, self.watch, self._tally.count, self._pace, runs)
        driver = self._loop.create_task(self._drive_batch(batch, runs))
        for run in runs:
            run.driver = driver

    def _run_of(self, delivery: Delivery) -> Run:
        self._runs += 1
        run = Run(delivery, f"{self.nonce}-{self._runs:x}")
        self.watch.runs[run.nonce] = run
        return run

    async def _drive(self, run: Run) -> None:
        try:
            await self._performer.perform(run)
        except asyncio.CancelledError:
            await self._performer.abandon(run)
        except Exception:  # noqa: BLE001 - one delivery must not end the others
            _log.exception("task %s could not be dealt with; the broker brings it back", run.delivery.task.id)
        finally:
            for lease in run.leases:
                self.watch.drop_lease(lease)
            del self.watch.runs[run.nonce]
            if run.stuck:
                self.watch.stuck = run.delivery.task.id
            self.intake.ended(run.delivery)
            if not self.watch.runs:
                self._idle.set()

    async def _drive_batch(self, batch: Batch, runs: list[Run]) -> None:
        try:
            await batch.perform()
        except asyncio.CancelledError:
            left = [run for run in runs if run.nonce in self.watch.runs]
            await asyncio.gather(*(self._performer.abandon(run) for run in left))
        except Exception:  # noqa: BLE001 - one batch must not end the others
            _log.exception("%d tasks that ran together could not be dealt with; the broker brings them back", len(runs))
        finally:
            for run in runs:
                if self.watch.runs.pop(run.nonce, None) is not None:
                    self.intake.let_go(run.delivery)
            self.intake.freed(batch)
            if not self.watch.runs:
                self._idle.set()

    async def _until_idle(self) -> None:
        while self.watch.runs:
            self._idle.clear()
            await self._idle.wait()

    async def _interrupt_all(self) -> None:
        """Interrupt what runs, and what waits besides; let go of what will not end by then."""
        for again in (False, True):
            for run in list(self.watch.runs.values()):
                run.interrupt("shutdown", again=again)
                if again and run.running_since is None and run.driver is not None:
                    run.driver.cancel()
            try:
                async with asyncio.timeout(_INTERRUPT_AGAIN_S):
                    return await self._until_idle()
            except TimeoutError:
                continue
        await asyncio.gather(*(self._performer.abandon(run) for run in self.watch.runs.values()))
        return None

    def _give_back(self, delivery: Delivery) -> None:
        try:
            self._ports.deliveries.give_back(delivery)
        except BrokerError as error:
            _log.info("task %s is left to the broker: %s", delivery.task.id, error)

    def _sweep(self) -> None:
        """Beat for the watchdog, end what ran too long, and record the start of what is not short."""
        self._timer = self._loop.call_later(_SWEEP_S, self._sweep)
        beat, self.watch.beat = self.watch.beat, time.monotonic()
        if self.watch.beat - beat > self._settings.ack_wait_s / 2:
            self.intake.doubt()
        now = self._loop.time()
        for run in self.watch.runs.values():
            if run.running_since is None or run.actor is None:
                continue
            ran_s = now - run.running_since
            if ran_s > run.actor.timeout_s:
                run.interrupt("timeout")
            elif ran_s > times.STARTED_AFTER_S and not run.noted:
                self._performer.note(run)
        for run in self.watch.to_note():
            self._performer.note(run)
