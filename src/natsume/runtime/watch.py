"""What a worker shares with its keepalive thread: deliveries in hand, leases, the loop's last beat.

Both sides only set and read single items and take snapshots of whole dicts, which the interpreter
keeps consistent; the loop is told of losses through `call_soon_threadsafe`.
"""

import asyncio
import time

from natsume.core.delivery import Delivery
from natsume.model.times import SETTLE_S
from natsume.ports import Lease
from natsume.runtime.run import LeaseHolder, Run


class Watch:
    """The table between the event loop that runs tasks and the thread that keeps them alive."""

    def __init__(self, in_hand: dict[str, Delivery], loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.in_hand = in_hand
        self.beat = time.monotonic()
        self.note_until = 0.0
        self.stuck: str | None = None
        self.runs: dict[str, Run] = {}
        self._leases: dict[tuple[str, int], tuple[Lease, LeaseHolder]] = {}

    def is_stale(self, age_s: float) -> bool:
        """Whether the loop, or the whole process, has stood still for so long."""
        return time.monotonic() - self.beat > age_s

    def goes_on(self, nonce: str) -> bool:
        """Whether a run of this worker has not ended."""
        return nonce in self.runs

    def broker_restarted(self) -> None:
        """Have what runs noted, so that another who gets a copy of it does not start it."""
        # Longer than others wait, who count from when the first of all was back.
        self.note_until = time.monotonic() + 2 * SETTLE_S

    def to_note(self) -> list[Run]:
        """What runs on a broker that has started anew, and is not known to run."""
        if time.monotonic() > self.note_until:
            return []
        return [run for run in list(self.runs.values()) if run.has_started and not run.noted]

    def add_lease(self, lease: Lease, holder: LeaseHolder) -> None:
        """Have a lease renewed until it is dropped."""
        # By its token too: a lease that was lost and its successor may be held in one worker.
        self._leases[lease.key, lease.token] = (lease, holder)

    def drop_lease(self, lease: Lease) -> None:
        """Renew it no more."""
        self._leases.pop((lease.key, lease.token), None)

    def leases(self) -> list[tuple[Lease, LeaseHolder]]:
        """All leases that are to be renewed."""
        return list(self._leases.values())

    def lost(self, lease: Lease, holder: LeaseHolder) -> None:
        """Called by the thread: a lease is gone; its holder learns it on the loop."""
        self.drop_lease(lease)
        self.loop.call_soon_threadsafe(self._tell, lease, holder)

    @staticmethod
    def _tell(lease: Lease, holder: LeaseHolder) -> None:
        if lease in holder.leases:
            holder.lease_gone()
