"""One slot process, as its worker has it: what it runs, how it is stopped, what its end means."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from natsume.actors.registry import Actor
from natsume.core import events as ev
from natsume.exceptions import NatsumeError, ResourceLimitExceeded
from natsume.model.record import Used
from natsume.runtime.execute import Ended
from natsume.runtime.failing import raised
from natsume.runtime.reaching import Reach
from natsume.runtime.run import Run
from natsume.slots import frames
from natsume.slots.answering import Answering
from natsume.slots.cgroups import Cgroup
from natsume.slots.channel import Channel
from natsume.slots.deaths import Death, cause_of
from natsume.slots.resources import MB, exceeded_memory
from natsume.slots.shortages import Shortages

_log = logging.getLogger(__name__)

_TERMINATE_AFTER_S: Final = 2.0
_KILL_AFTER_S: Final = 1.0


Signal = Callable[[], None]


class TemplateGone(NatsumeError):
    """The process that slots are forked from ended, and with it all of them; whose doing it was is not known."""


class Slot:
    """A process that runs one task at a time; it is signalled by way of the template, which knows whether it lives."""

    def __init__(self, number: int, line: socket.socket, terminate: Signal, kill: Signal, shortages: Shortages) -> None:
        self.number = number
        self.pid = 0
        self.tasks = 0
        self.resident = 0
        self.spoiled = False
        self.gone = asyncio.Event()
        self.limits = frames.Limits(0.0)
        self.peak_bytes = 0
        self.cpu_began: float | None = None
        self._terminate = terminate
        self._shortages = shortages
        self._kill = kill
        self._channel = Channel(line, self._take, self._broken)
        self._run: Run | None = None
        self._answering: Answering | None = None
        self._over: asyncio.Future[Ended | Death | None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._exceeded: ResourceLimitExceeded | None = None
        self._why: str | None = None
        self._cgroup: Cgroup | None = None
        self.placed = asyncio.Event()

    def forked(self, pid: int, cgroup: Cgroup | None) -> None:
        """Learn that the process is there, and the group in which it is."""
        self.pid, self._cgroup = pid, cgroup
        self.placed.set()

    @property
    def busy(self) -> Run | None:
        """What it runs."""
        return self._run

    async def run(self, run: Run, reach: Reach) -> Ended | None:
        """Run the actor of a run; None if the process was gone before the task began.

        Raises TemplateGone.
        """
        actor, loop = run.actor, asyncio.get_running_loop()
        assert actor is not None
        self._run, self._over, self._answering = run, loop.create_future(), Answering(run, reach, self._channel)
        self.tasks += 1
        self.cpu_began, self.peak_bytes = None, 0
        self.limits = frames.Limits(actor.timeout_s, actor.cpu_limit_s, actor.memory_limit_mb)
        self._limit(actor.memory_limit_mb)
        self._channel.send(_start(run, actor, self.limits, reach))
        run.elsewhere, run.started_at, run.running_since = self, reach.now(), loop.time()
        began = time.monotonic()
        try:
            if self.gone.is_set():
                return None
            over = await self._over
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            run.elsewhere = run.running_since = self._run = None
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()
            await self._answering.end()
        if isinstance(over, Death):
            return self._died(run, actor, over, reach.now(), time.monotonic() - began)
        if over is not None:
            run.interrupted_by = None
        return over

    def _limit(self, limit_mb: float | None) -> None:
        """Have the kernel keep a limit over all processes of the task, where there is a group for them."""
        if self._cgroup is not None:
            self._cgroup.limit(None if limit_mb is None else int(limit_mb * MB))

    def heed(self) -> None:
        """Tell the task that it is to be cancelled, or that its worker stops."""
        if self._run is not None:
            self._channel.send(frames.Heed(self._run.flag, self._run.stopping))

    def interrupt(self, cause: str, *, again: bool) -> None:
        """Cancel the task; one that goes on is killed, after its programs were told to end."""
        self.spoiled = True
        if again:
            self.kill()
            return
        self._channel.send(frames.Interrupt(cause))
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(_TERMINATE_AFTER_S, self._terminate))
        self._timers.append(loop.call_later(_TERMINATE_AFTER_S + _KILL_AFTER_S, self.kill))

    def exceed(self, exceeded: ResourceLimitExceeded) -> None:
        """Kill it for a limit that its task exceeds."""
        self._exceeded = self._exceeded or exceeded
        self.kill()

    def kill(self) -> None:
        """Kill it, and what its task started."""
        self.spoiled = True
        self._kill()

    def close(self) -> None:
        """Let it end: at once if something of a task is left in it."""
        if self.spoiled:
            self.kill()
            return
        self._channel.send(frames.Close())
        self._timers.append(asyncio.get_running_loop().call_later(_TERMINATE_AFTER_S, self.kill))

    def ended(self, status: int | None, cpu_s: float, peak_bytes: int) -> None:
        """Learn that the process has ended; without a status, that nobody knows how."""
        self._channel.read()  # what it said before
        self._channel.close()
        self.gone.set()
        self.placed.set()
        self.spoiled = True
        killed_at = self._cgroup.peak_if_killed() if self._cgroup is not None else None
        if killed_at is not None and self._run is not None and self.limits.memory_limit_mb is not None:
            self._exceeded = exceeded_memory(self._run.delivery.task.actor, self.limits.memory_limit_mb, killed_at)
        if self._cgroup is not None:
            self._cgroup.remove()
        for timer in self._timers:
            timer.cancel()
        if self._over is None or self._over.done():
            return
        if status is None:
            self._over.set_exception(TemplateGone("the process that slots are forked from has ended"))
        elif self.cpu_began is None:
            self._over.set_result(None)
        else:
            used_s, peak = max(0.0, cpu_s - self.cpu_began), max(peak_bytes, self.peak_bytes)
            self._over.set_result(Death(status, used_s, peak, self._shortages.lately(), self._exceeded, self._why))

    def _take(self, body: bytes) -> None:
        frame = frames.from_slot(body)
        run, over = self._run, self._over
        if run is None or over is None or self._answering is None or over.done():
            return  # what a task leaves in its process may still ask
        match frame:
            case frames.Begun():
                self.cpu_began = frame.cpu_s
            case frames.Over():
                self.resident, self.spoiled = frame.resident, self.spoiled or frame.spoiled
                over.set_result(_with_peak(frames.ended(frame, run.nonce), self.peak_bytes))
            case frames.Said():
                self._answering.said(frame)
            case frames.Withdraw():
                self._answering.withdraw(frame.number)
            case _:
                self._answering.take(frame)

    def _broken(self, why: str | None) -> None:
        """What closes its line or sends nonsense is killed; its end is reported by the template."""
        self._why = why
        self.kill()

    def _died(self, run: Run, actor: Actor, death: Death, at: float, wall_s: float) -> Ended:
        cause, run.interrupted_by = run.interrupted_by, None
        used = Used(round(wall_s, 6), round(death.cpu_s, 6), death.peak_bytes)
        if cause == "timeout":
            late = ResourceLimitExceeded(actor.name, "timeout_s", actor.timeout_s, wall_s, "and was killed")
            return raised(run, actor, late, at, used)
        if cause == "cancel" and run.flag is not None:
            return ev.Honoured(run.started_at, at, run.flag, "it was killed", run.progress, used)
        if cause is not None:
            return ev.Interrupted(run.started_at, at)
        return raised(run, actor, cause_of(actor.name, death, self.limits), at, used)


def _start(run: Run, actor: Actor, limits: frames.Limits, reach: Reach) -> frames.Start:
    tokens = {lease.want.key: lease.token for lease in run.leases}
    ahead_s = reach.now() - time.time()
    return frames.Start(
        run.delivery.task,
        run.nonce,
        run.rules.worker,
        limits,
        ahead_s,
        tokens,
        actor.retries,
        run.flag,
        run.stopping,
    )


def _with_peak(ended: Ended, peak_bytes: int) -> Ended:
    """The end with the peak that was seen of all processes of the task, if that was more."""
    used = None if isinstance(ended, ev.Snoozed | ev.Interrupted) else ended.used
    if used is None or peak_bytes <= (used.memory_peak_bytes or 0):
        return ended
    return replace(ended, used=replace(used, memory_peak_bytes=peak_bytes))
