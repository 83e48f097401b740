"""The locks of a batch: the union of its members', each taken once, in the one order of all tasks."""

import logging
from collections.abc import Sequence
from typing import Final

from natsume.core import events as ev
from natsume.core.phases import Locking
from natsume.exceptions import BrokerError
from natsume.model.lock import Blocked, Holding, Mode, Want
from natsume.ports import Lease
from natsume.runtime.run import Run
from natsume.runtime.watch import Watch
from natsume.runtime.worker_ports import Ports

_log = logging.getLogger(__name__)

_TRIES: Final = 3


class SharedLease:
    """One lease and the members that need it (a LeaseHolder)."""

    def __init__(self, lease: Lease, runs: Sequence[Run]) -> None:
        self.leases = [lease]
        self.runs = runs

    def lease_gone(self) -> None:
        """Tell those that need it, and nobody else."""
        for run in self.runs:
            run.lease_gone()


class BatchLocks:
    """What one batch holds until all its members have ended."""

    def __init__(self, ports: Ports, watch: Watch) -> None:
        self._ports = ports
        self._watch = watch
        self._held: list[SharedLease] = []

    @property
    def leases(self) -> list[Lease]:
        """All that is held."""
        return [lease for shared in self._held for lease in shared.leases]

    async def take(self, runs: Sequence[Run]) -> list[tuple[Run, ev.Event]]:
        """Take what these members need; each hears that it has all, or which one is refused: it then has none."""
        if any(isinstance(run.phase, Locking) and run.phase.suspect for run in runs):
            await self._ports.boots.settled()
        wanted: dict[tuple[str, Mode], tuple[Want, list[Run]]] = {}
        for run in runs:
            for want in run.wants:
                wanted.setdefault((want.key, want.mode), (want, []))[1].append(run)
        out: dict[str, ev.Event] = {}
        for key in sorted(wanted):
            want, askers = wanted[key]
            await self._take_one(want, [run for run in askers if run.nonce not in out], out)
            await self._give_up(want, [run for run in askers if run.nonce in out])
        for run in runs:
            if run.nonce not in out:
                run.shared = [shared.leases[0] for shared in self._held if run in shared.runs]
        await self.release(unless_of={run.nonce for run in runs if run.nonce not in out}, among=runs)
        return [(run, out.get(run.nonce, ev.Locked())) for run in runs]

    async def _take_one(self, want: Want, askers: list[Run], out: dict[str, ev.Event]) -> None:
        """Ask in the name of those that waited longest, for whom it may be kept; else of anyone."""
        if not askers:
            return
        waited = sorted((run for run in askers if run.delivery.task.waits), key=_waits_since)[:_TRIES]
        refused: Blocked | None = None
        try:
            for run in waited or askers[:1]:
                got = await self._acquire(run, want)
                if isinstance(got, Lease):
                    shared = SharedLease(got, askers)
                    self._held.append(shared)
                    self._watch.add_lease(got, shared)
                    return
                refused = got
        except BrokerError as error:
            _log.warning("TakeLocks of %d tasks has no answer yet: %s", len(askers), error)
            out.update((run.nonce, ev.Uncertain()) for run in askers)
            return
        assert refused is not None
        out.update((run.nonce, ev.LockRefused(self._ports.now(), refused)) for run in askers)

    async def _acquire(self, run: Run, want: Want) -> Lease | Blocked:
        task = run.delivery.task
        since = task.waiting_since if task.waiting_since is not None else self._ports.now()
        holding = Holding(run.nonce, task.id, since, worker=run.rules.worker, owner=task.owner)
        return await self._ports.leases.acquire(want, holding, waited=task.waits > 0)

    async def _give_up(self, want: Want, refused: Sequence[Run]) -> None:
        """Wake others for a later lock that may be kept for one that lacks an earlier one."""
        for run in refused:
            if run.delivery.task.waits:
                try:
                    await self._ports.leases.wake(want.key, given_up_by=run.delivery.task.id)
                except BrokerError as error:
                    _log.info("what is kept of %s for task %s ends by itself: %s", want.name, run.nonce, error)

    async def release(self, unless_of: set[str] | None = None, among: Sequence[Run] = ()) -> None:
        """Give back what is held, but what one of those needs; what cannot be given back now is later."""
        keep = []
        for shared in self._held:
            needed = unless_of is not None and (
                any(run.nonce in unless_of for run in shared.runs) or not any(run in among for run in shared.runs)
            )
            if needed:
                keep.append(shared)
                continue
            (lease,) = shared.leases
            self._watch.drop_lease(lease)
            try:
                await self._ports.leases.release(lease)
            except BrokerError as error:
                _log.warning("%s is not given back yet: %s", lease.want.name, error)
        self._held = keep


def _waits_since(run: Run) -> float:
    return run.delivery.task.waiting_since or 0.0
