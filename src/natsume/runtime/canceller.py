"""Goes on where those stopped who cancelled tasks: frees flags, passes them on to descendants, ends what waits.

Descendants that no commit names, such as children of `now=True`, are found in the ledger. So a flag that is for them
stays until the ledger has followed the records beyond the end of its task, and was asked once more after that.
"""

import logging
from collections.abc import Sequence

from natsume.exceptions import FlagsFull, LedgerError
from natsume.model import times
from natsume.model.record import Done
from natsume.model.told import Flag
from natsume.ports import Families, Flags, Outlet
from natsume.runtime.rounds import rounds
from natsume.service.cancelling import Cancelling

_log = logging.getLogger(__name__)


class Canceller:
    """Looks at all flags now and then, until it is cancelled; any number may."""

    def __init__(self, flags: Flags, cancelling: Cancelling, families: Families, outlet: Outlet) -> None:
        self._flags = flags
        self._cancelling = cancelling
        self._families = families
        self._outlet = outlet
        self._ended_by: dict[str, int] = {}

    async def run(self) -> None:
        """Look for ever."""
        await rounds(self.once, times.FLAGS_S, "the flags of tasks to cancel wait for the broker: %s", logging.WARNING)

    async def once(self) -> None:
        """Look at all flags once."""
        seen: dict[str, int] = {}
        async for page in self._flags.scan():
            passed = await self._cancelling.settle(page)
            cascading = {flag.id: flag for flag in page if flag.cascade}
            if cascading:
                # Read after the ends: all that those tasks submitted is stored before this record.
                end = await self._outlet.end()
                seen |= {task_id: self._ended_by.get(task_id, end) for task_id in passed}
                await self._ask_ledger(cascading, passed, seen)
        self._ended_by = seen

    async def _ask_ledger(self, cascading: dict[str, Flag], passed: dict[str, Done], seen: dict[str, int]) -> None:
        """Flag what the ledger knows to follow from these; free those of which it can know nothing more."""
        try:
            followed = await self._outlet.settled()
            tellers = _tellers(list(passed.values()))
            async for page in self._families.unfinished(list(cascading)):
                family = [(child, cascading[parent]) for child, parent in page if child not in tellers]
                await self._cancelling.reach(family)
        except (LedgerError, FlagsFull) as error:
            _log.info("the descendants of %d cancelled tasks wait for the next round: %s", len(cascading), error)
        else:
            await self._flags.free([task_id for task_id in passed if seen[task_id] <= followed])


def _tellers(records: Sequence[Done]) -> set[str]:
    """The failure callbacks of these parents' joins, which tell how a group ended: no cascade is for them."""
    return {group.on_failure.id for done in records for group in done.groups if group.on_failure is not None}
