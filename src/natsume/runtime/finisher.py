"""The finisher: sends the replays of dead letters that were decided and, a minute later, are not known to be sent.

Whoever decided one may have died before that. Any number may run. Each round goes on where the last one found
nothing left to do, so that one without news reads nothing.
"""

import logging
from collections.abc import Awaitable, Callable

from natsume.exceptions import BrokerError
from natsume.model import limits, times
from natsume.model.record import Settled
from natsume.model.task import ENDED
from natsume.ports import Letters, Reading, Replayed
from natsume.runtime.rounds import rounds

_log = logging.getLogger(__name__)


class Finisher:
    """Looks at decisions now and then, until it is cancelled."""

    def __init__(
        self,
        letters: Letters,
        finish: Callable[[Settled, int, bool], Awaitable[object]],
        reading: Reading,
        broker: Callable[[], str],
        now: Callable[[], float],
    ) -> None:
        """`finish` takes a decision, its revision and whether its replay has ended; `broker` names the one there is."""
        self._letters = letters
        self._finish = finish
        self._reading = reading
        self._broker = broker
        self._now = now
        self._followed = ""
        self._from = 1

    async def run(self) -> None:
        """Look for ever."""
        await rounds(self.once, times.RESEND_S, "replays that were begun wait for the next round: %s")

    async def once(self) -> int:
        """Finish what was begun long enough ago; how many."""
        if self._followed != self._broker():
            self._followed, self._from = self._broker(), 1
        at, count, stuck = self._from, 0, False
        while page := await self._letters.replayed(at, limits.LOOK_UP_MAX):
            for one in page:
                if one.settled is None:
                    _log.error("record %d of the stream RECORDS is no decision on a dead letter", one.revision)
                elif not one.settled.sent:
                    if one.at > self._now() - times.RESEND_AFTER_S:
                        return count  # this one and all after it are young
                    finished = await self._one(one, one.settled)
                    count, stuck = count + finished, stuck or not finished
                at = one.revision + 1
                self._from = self._from if stuck else at
        return count

    async def _one(self, one: Replayed, settled: Settled) -> bool:
        # Before the horizon the records tell how it ended; what is older only the ledger may know.
        ended = one.at < self._now() - times.PLAIN_TTL_S and await self._has_ended(settled)
        try:
            await self._finish(settled, one.revision, ended)
        except (ValueError, LookupError):
            _log.exception("the replay of %s cannot be sent: its message cannot be read", settled.id)
        except BrokerError as error:
            if error.is_transient:
                raise
            _log.error("the replay of %s is refused; no other is held up: %s", settled.id, error)
            return False
        else:
            _log.warning("the replay of %s was begun by %s and is finished here", settled.id, settled.who)
        return True

    async def _has_ended(self, settled: Settled) -> bool:
        account = await self._reading.get(settled.replay or "")
        return account is not None and account.row.state in ENDED
