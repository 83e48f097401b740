"""One delivery on its way through a worker: what the shell keeps beside the core's phase."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import msgspec

from natsume.actors.registry import Actor
from natsume.control import Teller
from natsume.core import outcome, phases
from natsume.core.attempt import step
from natsume.core.delivery import Delivery, Rules
from natsume.core.events import LeaseGone
from natsume.exceptions import BrokerError
from natsume.model.limit_rule import Share
from natsume.model.lock import Want
from natsume.model.subject import LANES
from natsume.model.told import Flag, Progress
from natsume.ports import Lease, Records

_log = logging.getLogger(__name__)

_BUFFERED: Final = phases.Buffered()
_UNOPENED: Final = Rules("", LANES[0])
"""Stands in until a delivery is opened and its actor is known."""


class Ending(Teller, Protocol):
    """What a task tells through, until its end."""

    def end(self) -> None:
        """Tell nothing more."""
        ...


class LeaseHolder(Protocol):
    """Who learns that a lease is lost."""

    @property
    def leases(self) -> list[Lease]:
        """What it holds."""
        ...

    def lease_gone(self) -> None:
        """Learn that one of them is lost."""
        ...


class Together(Protocol):
    """What runs several tasks in one call."""

    def interrupt(self, run: "Run", cause: str, *, again: bool) -> None:
        """Learn that one of them is to stop."""
        ...


class Elsewhere(Protocol):
    """The process in which the actor of a run is run, where that is not this one."""

    def heed(self) -> None:
        """Tell it that the run's flag is set, or that its worker stops."""
        ...

    def interrupt(self, cause: str, *, again: bool) -> None:
        """Stop the actor there, at once if it is said `again`."""
        ...


def _as_it_is(error: BaseException) -> BaseException:
    return error


class Run(msgspec.Struct, eq=False):
    """A delivery, its phase, its leases and the asyncio task that drives it."""

    delivery: Delivery
    nonce: str
    phase: phases.Phase = _BUFFERED
    rules: Rules = _UNOPENED
    actor: Actor | None = None
    task: Any = None
    leases: list[Lease] = []
    shared: Sequence[Lease] = ()
    wants: Sequence[Want] = ()
    shares: Sequence[Share] = ()
    grants: dict[str, float] = {}
    lost: bool = False
    noted: bool = False
    flag: Flag | None = None
    stopping: bool = False
    stuck: bool = False
    teller: Ending | None = None
    progress: Progress | None = None
    told_at: float = 0.0
    started_at: float = 0.0
    running_since: float | None = None
    interrupted_by: str | None = None
    driver: asyncio.Task[None] | None = None
    batch: Together | None = None
    half: str = ""
    elsewhere: Elsewhere | None = None
    explain: Callable[[BaseException], BaseException] = _as_it_is

    def __post_init__(self) -> None:
        if self.delivery.grants is not None:
            self.grants, self.delivery.grants = self.delivery.grants, None

    @property
    def has_started(self) -> bool:
        """Whether the actor was started and what came of it is not recorded yet."""
        phase = self.phase
        return isinstance(phase, phases.Running | phases.Failing) or (
            isinstance(phase, phases.Committing) and phase.run is not None
        )

    def note(self, records: Records, now: float) -> Coroutine[Any, Any, None]:
        """Record that it has started, for those who look; one that could not be recorded is not `noted` again."""
        self.noted = True
        return self._note(records, now)

    async def _note(self, records: Records, now: float) -> None:
        task = self.delivery.task
        record = outcome.start(task, self.rules.worker, self.started_at or now, self.nonce, 0, self.half)
        try:
            await records.start(record, 0)
        except BrokerError as error:
            self.noted = False
            _log.debug("the start of task %s is not recorded yet: %s", task.id, error)

    def interrupt(self, cause: str, *, again: bool = False) -> None:
        """Stop the actor if it runs; what drives this run goes on and reports it.

        Once, unless `again`: a second cancellation would cut short how the actor cleans up.
        """
        if self.running_since is None or self.driver is None or (self.interrupted_by and not again):
            return
        if self.batch is not None:
            self.batch.interrupt(self, cause, again=again)
            return
        self.interrupted_by = self.interrupted_by or cause
        if self.elsewhere is not None:
            self.elsewhere.interrupt(cause, again=again)
        else:
            self.driver.cancel()

    def flagged_by(self, flag: Flag) -> None:
        """Learn that the task is to be cancelled: it hears of it when it asks, or is interrupted if it says so."""
        self.flag = flag
        if self.elsewhere is not None:
            self.elsewhere.heed()
        if self.actor is not None and self.actor.interrupted_by_cancel:
            self.interrupt("cancel")

    def shut_down(self) -> None:
        """Learn that the worker stops: the task hears of it when it asks."""
        self.stopping = True
        if self.elsewhere is not None:
            self.elsewhere.heed()

    def check_leases(self, now: float) -> None:
        """Learn from the clock that a lease has ended: after a stop, nobody may have told yet."""
        held = self.leases or self.shared
        if held and any(lease.until <= now for lease in (*self.leases, *self.shared)):
            self.lease_gone()

    def lease_gone(self) -> None:
        """Learn that a lock is lost: now if that matters now, else when the actor would start."""
        self.lost = True
        if isinstance(self.phase, phases.Running | phases.Committing):
            self.phase, effects = step(self.phase, self.delivery, self.rules, LeaseGone())
            if effects:
                self.interrupt("lease")
