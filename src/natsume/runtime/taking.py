"""Takes the locks of a run before it starts, and gives them back when it is over."""

from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core.phases import Locking
from natsume.model.lock import Blocked, Holding, Want
from natsume.runtime.run import Run
from natsume.runtime.watch import Watch
from natsume.runtime.worker_ports import Ports


class Taking:
    """The execution locks of one worker's runs."""

    def __init__(self, ports: Ports, watch: Watch) -> None:
        self._ports = ports
        self._watch = watch

    async def take(self, run: Run, _: do.TakeLocks) -> ev.Event:
        """Take all locks that it needs, or none."""
        if isinstance(run.phase, Locking) and run.phase.suspect:
            await self._ports.boots.settled()
        refused: Blocked | None = None
        for want in run.wants:
            if refused is None:
                refused = await self._take(run, want)
            elif run.delivery.task.waits:
                # What has waited may have a later lock reserved. It must not hold that while it lacks an earlier
                # one, not for a moment: tasks would refuse each other for ever.
                await self._ports.leases.wake(want.key, given_up_by=run.delivery.task.id)
        if refused is None:
            return ev.Locked()
        await self.release(run, do.ReleaseLocks())
        return ev.LockRefused(self._ports.now(), refused)

    async def _take(self, run: Run, want: Want) -> Blocked | None:
        task = run.delivery.task
        since = task.waiting_since if task.waiting_since is not None else self._ports.now()
        holding = Holding(run.nonce, task.id, since, worker=run.rules.worker, owner=task.owner)
        lease = await self._ports.leases.acquire(want, holding, waited=task.waits > 0)
        if isinstance(lease, Blocked):
            return lease
        run.leases.append(lease)
        self._watch.add_lease(lease, run)
        return None

    async def release(self, run: Run, _: do.ReleaseLocks) -> None:
        """Give back all that it holds."""
        while run.leases:
            lease = run.leases.pop()
            self._watch.drop_lease(lease)
            await self._ports.leases.release(lease)
