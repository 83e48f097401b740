"""The resender: sends again what has a submitted record and nothing else after a minute.

Its submitter may have died between the two. Any number may run. What was sent after all is told by its message id
within two minutes, or looked up before it runs; each task is sent again once, for then the broker has it.
"""

import logging
from collections.abc import Callable

from natsume.core import restoring
from natsume.model import limits, times
from natsume.model.ledger import Row
from natsume.ports import Outgoing, Silence
from natsume.runtime.rounds import rounds

_log = logging.getLogger(__name__)


class Resender:
    """Looks into the ledger now and then, until it is cancelled."""

    def __init__(self, silence: Silence, outgoing: Outgoing, now: Callable[[], float]) -> None:
        self._silence = silence
        self._outgoing = outgoing
        self._now = now

    async def run(self) -> None:
        """Look for ever."""
        await rounds(self.once, times.RESEND_S, "what may have been lost on its way waits for the next round: %s")

    async def once(self) -> int:
        """Send again what is silent; how many."""
        count = 0
        while rows := await self._silence.silent(self._now() - times.RESEND_AFTER_S, limits.RESTORE_PAGE):
            for row in rows:
                await self._send(row)
            await self._silence.resent([row.id for row in rows])
            count += len(rows)
        return count

    async def _send(self, row: Row) -> None:
        task, due = restoring.task_of(row), restoring.due_of(row, self._now())
        if task is None:
            _log.error("the message of %s in its submitted record cannot be read; it is not sent again", row.id)
        elif due is None:
            await self._outgoing.submit(task, resent=True)
        else:
            await self._outgoing.arm(task, due)
