"""The thread that keeps a worker's deliveries and leases alive, whatever the event loop is doing.

It has an event loop and a connection of its own. It also watches the worker's loop: what blocks it is
logged with its stack; a block beyond the task's time limit ends the process, marked as that task's crash.
"""

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol

from natsume.core import outcome
from natsume.core.delivery import Delivery
from natsume.core.phases import Running
from natsume.exceptions import BrokerError, NatsumeError
from natsume.model import times
from natsume.model.told import Heartbeat
from natsume.ports import Lease, Leases, Records
from natsume.runtime.run import LeaseHolder, Run
from natsume.runtime.watch import Watch

_log = logging.getLogger(__name__)

BLOCKED_EXIT: Final = 70
_BLOCK_S: Final = 1.0
_TICK_S: Final = 0.25
_LEASE_MARGIN_S: Final = 0.25


class Lifeline(Protocol):
    """The thread's own way to the broker."""

    @property
    def leases(self) -> Leases:
        """Where leases are renewed."""
        ...

    @property
    def records(self) -> Records:
        """Where a crash is marked."""
        ...

    def extend(self, delivery: Delivery) -> None:
        """Start a delivery's `ack_wait` anew."""
        ...

    def give_back(self, delivery: Delivery) -> None:
        """Have a delivery brought again, now."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


class Keepalive:
    """Runs in a thread of its own from `start` to `stop`."""

    def __init__(
        self,
        watch: Watch,
        connect: Callable[[], Awaitable[Lifeline]],
        ack_wait_s: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`wall` is the broker's clock."""
        self._watch = watch
        self._wall = wall
        self._connect = connect
        self._every_s = ack_wait_s / 4
        self._main = threading.get_ident()
        self._stop = threading.Event()
        self._ready: asyncio.Future[None] = watch.loop.create_future()
        self._thread = threading.Thread(target=self._run, name="natsume-keepalive", daemon=True)
        self._connected = False
        self._renewing: set[tuple[str, int]] = set()
        self._looked_at: dict[int, float] = {}
        self._reported_at: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the thread; returns when it is connected."""
        self._thread.start()
        await self._ready

    async def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                asyncio.run(self._live())
            except Exception:  # noqa: BLE001 - without this thread every delivery would be brought again
                _log.exception("the keepalive thread failed; it starts anew")
                self._stop.wait(_TICK_S)

    async def _live(self) -> None:
        try:
            line = await self._connect()
        except NatsumeError as error:
            if self._connected:
                raise
            self._stop.set()
            self._watch.loop.call_soon_threadsafe(self._ready.set_exception, error)
            return
        if not self._connected:
            self._connected = True
            self._watch.loop.call_soon_threadsafe(self._ready.set_result, None)
        extended_at = beaten_at = time.monotonic()
        while not self._stop.is_set():
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            if now - extended_at >= self._every_s:
                extended_at = now
                self._extend(line)
            if now - beaten_at >= times.HEARTBEAT_S / 2:
                beaten_at = now
                self._beat(line, now)
            self._renew(line, now)
            self._note(line)
            if self._watch.stuck is not None:
                await self._end_stuck(line, self._watch.stuck)
            await self._check_loop(line, now)
        await line.close()

    def _extend(self, line: Lifeline) -> None:
        for delivery in list(self._watch.in_hand.values()):
            try:
                line.extend(delivery)
            except BrokerError:
                return  # without a connection there is nothing to extend; the broker brings them back

    def _is_due(self, lease: Lease, now: float) -> bool:
        """Whether a third of its TTL has passed; one that does not end is renewed to learn of a release by hand."""
        if not lease.want.manual:
            return lease.until - now < lease.want.ttl_s * 2 / 3
        since = self._looked_at.setdefault(lease.token, now)
        if now - since < lease.want.ttl_s / 3:
            return False
        self._looked_at[lease.token] = now
        return True

    def _beat(self, line: Lifeline, now: float) -> None:
        """Record of tracked tasks that run for long that they do, unless they just said so themselves."""
        beats = []
        for run in list(self._watch.runs.values()):
            since, task = run.running_since, run.delivery.task
            if since is None or not task.tracked or now - max(since, run.told_at) < times.HEARTBEAT_S:
                continue
            run.told_at = now
            beats.append(Heartbeat(task.id, task.actor, task.attempt, run.rules.worker, self._wall()))
        if beats:
            self._begin(_tell(line.records, beats))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _renew(self, line: Lifeline, now: float) -> None:
        leases = self._watch.leases()
        if self._looked_at:
            held = {lease.token for lease, _ in leases}
            self._looked_at = {token: at for token, at in self._looked_at.items() if token in held}
        for lease, run in leases:
            if lease.until - now <= _LEASE_MARGIN_S:
                self._watch.lost(lease, run)
            elif self._is_due(lease, now) and (lease.key, lease.token) not in self._renewing:
                self._renewing.add((lease.key, lease.token))
                self._begin(self._renew_one(line, lease, run))

    def _note(self, line: Lifeline) -> None:
        """Note what runs, for the loop that does so otherwise may be blocked."""
        for run in self._watch.to_note():
            self._begin(run.note(line.records, time.time()))

    async def _renew_one(self, line: Lifeline, lease: Lease, run: LeaseHolder) -> None:
        try:
            if not await line.leases.renew(lease):
                self._watch.lost(lease, run)
        except BrokerError as error:
            _log.warning("the lease %s could not be renewed yet: %s", lease.key, error)
        finally:
            self._renewing.discard((lease.key, lease.token))

    async def _check_loop(self, line: Lifeline, now: float) -> None:
        since = self._watch.beat
        if now - since < _BLOCK_S:
            self._reported_at = None
            return
        if self._reported_at is None:
            self._reported_at = since
            frame = sys._current_frames().get(self._main)
            stack = "".join(traceback.format_stack(frame)) if frame else "no stack"
            _log.error("the event loop is blocked since %.1f s by:\n%s", now - since, stack)
        running = _current(self._watch.loop)
        blockers = [run for run in list(self._watch.runs.values()) if run.driver is running]
        if blockers and blockers[0].actor is not None and now - since > blockers[0].actor.timeout_s:
            await self._end_process(line, blockers, now - since)

    async def _end_process(self, line: Lifeline, blockers: list[Run], blocked_s: float) -> None:
        """Count it against the blocker alone, or its batch: all others are given back unharmed."""
        task_id, others = blockers[0].delivery.task.id, len(blockers) - 1
        what = f"task {task_id}" if not others else f"the batch of task {task_id} and {others} more"
        _log.critical("%s has blocked the event loop for %.0f s; this worker ends", what, blocked_s)
        await self._exit(line, blockers)

    async def _end_stuck(self, line: Lifeline, task_id: str) -> None:
        """End the process, whose thread nobody can end; its task's outcome is recorded already."""
        _log.critical("the thread of task %s still runs after its timeout; this worker ends with it", task_id)
        await self._exit(line, [])

    async def _exit(self, line: Lifeline, blockers: list[Run]) -> None:
        try:
            for blocker in blockers:
                await _charge(line.records, blocker)
            await _absolve(line.records, [run for run in list(self._watch.runs.values()) if run not in blockers])
            for delivery in list(self._watch.in_hand.values()):
                line.give_back(delivery)
            await line.close()
        finally:
            os._exit(BLOCKED_EXIT)


async def _tell(records: Records, beats: list[Heartbeat]) -> None:
    try:
        for beat in beats:
            await records.tell(beat)
    except BrokerError as error:
        _log.info("%d heartbeats could not be recorded: %s", len(beats), error)


async def _charge(records: Records, blocker: Run) -> None:
    """Mark the blocker's start as a crash, unless it is marked already."""
    task = blocker.delivery.task
    (history,) = await records.look_up([(task.id, task.attempt)])
    crashes = 0 if blocker.half else 1 + (history.started.crashes if history.started and not blocker.noted else 0)
    record = outcome.start(task, blocker.rules.worker, time.time(), "", crashes, blocker.half)
    if not (blocker.noted and history.started and (history.started.crashes or history.started.half)):
        await records.start(record, history.started_seq)


async def _absolve(records: Records, runs: list[Run]) -> None:
    """Take back the marks of starts that end here through no fault of theirs."""
    for run in runs:
        phase = run.phase
        if isinstance(phase, Running) and phase.mark:
            record = outcome.start(run.delivery.task, run.rules.worker, time.time(), "", max(0, phase.crashes - 1))
            await records.start(record, phase.mark)


def _current(loop: asyncio.AbstractEventLoop) -> "asyncio.Task[None]":
    return asyncio.current_task(loop)  # type: ignore[return-value]
