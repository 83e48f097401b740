"""What became of tasks: the broker's records and the ledger, asked together and answered by rights."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from natsume.actors.registry import Registry
from natsume.core.account import merged
from natsume.core.listing import check, shown
from natsume.core.rights import Act, Who, carried, may, owns, read, who_is
from natsume.exceptions import BrokerError, Forbidden, LedgerError, NatsumeError, UnknownTask
from natsume.model import limits
from natsume.model.ledger import Filter, Place, Row
from natsume.model.record import Done
from natsume.model.status import Status
from natsume.model.subject import is_id
from natsume.model.task import ENDED
from natsume.ports import Inquiries, Reading

_log = logging.getLogger(__name__)
_ALL: Final = Filter()
T = TypeVar("T")


class Page(msgspec.Struct, frozen=True):
    """Some of the tasks of a filter, newest first; `next` is where the next page begins, None after the last."""

    tasks: list[Row]
    next: Place | None


class Ledger:
    """Answers who asks what they may know; what they may not see looks as if it were not there.

    `as_user` is a user's name, or a `Who`; without it the caller is the operator.
    """

    def __init__(self, inquiries: Inquiries, reading: Reading, registry: Callable[[], Registry]) -> None:
        self._inquiries = inquiries
        self._reading = reading
        self._registry = registry

    async def status(self, token: str, *, as_user: str | Who | None = None) -> Status:
        """What is known of a task. Its end counts as consumed once its owner has read it here.

        Raises UnknownTask where there is no such task, or none that they may see; LedgerError or BrokerError
        where that cannot be told.
        """
        who = who_is(as_user)
        status = await self._known(token, who)
        if status.state in ENDED and owns(who, status.owner) and not status.consumed:
            return await self._consume(status)
        return status

    async def ended(self, token: str, timeout_s: float, *, as_user: str | Who | None = None) -> Status:
        """A task as soon as it has ended, told by its record; after the timeout, as it is then. Raises as `status`."""
        status = await self.status(token, as_user=as_user)
        if status.state in ENDED:
            return status
        try:
            async with asyncio.timeout(timeout_s):
                await self._inquiries.ended(token)
        except TimeoutError:
            pass  # it is as it is
        return await self.status(token, as_user=as_user)

    async def end(self, token: str, timeout_s: float, *, as_user: str | Who | None = None) -> Done:
        """The done record of a task, as soon as it has ended. Raises as `status`, and TimeoutError."""
        done = (await self.ended(token, timeout_s, as_user=as_user)).done
        if done is None:
            raise TimeoutError(f"task {token} has not ended within {timeout_s:g} s")
        return done

    async def allowed(self, token: str, act: Act, as_user: str | Who | None) -> Status:
        """The task, if they may do this with it; raises Forbidden if they may only see it, else as `status`."""
        who = who_is(as_user)
        status = await self._known(token, who)
        if may(who, act, status.owner, status.tenant, carried(status.headers)):
            return status
        # A publisher in another language need not know what the actor declares.
        actor = self._registry().get(status.actor)
        if actor is not None and may(who, act, status.owner, status.tenant, read(actor.rights)):
            return status
        raise Forbidden(f"{who.user or 'this caller'} may not {act} task {token}: {status.actor} leaves that to others")

    async def find(
        self,
        wanted: Filter = _ALL,
        *,
        as_user: str | Who | None = None,
        count: int = 100,
        after: Place | None = None,
    ) -> Page:
        """A page of the tasks that they may see, newest first; tasks that just began may be missing for a moment.

        Raises UsageError for a filter that cannot be, LedgerError where there is no ledger.
        """
        check(wanted, count)
        who = who_is(as_user)
        rows = await self._reading.find(wanted, count + 1, after, who)
        more, rows = len(rows) > count, rows[:count]
        open_ = [row.id for row in rows if row.state not in ENDED]
        try:
            ends = await self._inquiries.ends(open_)
        except BrokerError as error:
            _log.warning("tasks are listed as the ledger knows them alone: %s", error)
            ends = {}
        last = Place(rows[-1].enqueued_at, rows[-1].id) if more else None
        return Page(shown(rows, ends, wanted, who), last)

    async def close(self) -> None:
        """Disconnect from the ledger's database."""
        await self._reading.close()

    async def _known(self, token: str, who: Who) -> Status:
        if is_id(token) and len(token) <= limits.ID_MAX:
            told, account = await asyncio.gather(
                self._inquiries.status(token), self._reading.get(token, who), return_exceptions=True
            )
            status = merged(_answer(told, BrokerError), _answer(account, LedgerError))
            if status is not None and may(who, Act.SEE, status.owner, status.tenant):
                # Without the records only an end is sure.
                if isinstance(told, BaseException) and status.state not in ENDED:
                    raise told
                return status
            for answer in (told, account):
                if isinstance(answer, BaseException):
                    raise answer
        rest = "it never was, or is too old" if who.operator else "it never was, is too old, or not yours to see"
        raise UnknownTask(f"nothing is known of a task {token!r}: {rest}")

    async def _consume(self, status: Status) -> Status:
        first = status.submitted_at or status.started_at or status.finished_at or 0.0
        row = Row(
            status.id,
            0,
            status.state,
            status.actor,
            first,
            status.finished_at or first,
            owner=status.owner,
            tenant=status.tenant,
        )
        try:
            await self._reading.consume(row)
        except LedgerError as error:
            _log.warning("task %s is not marked as consumed: %s", status.id, error)
            return status
        return replace(status, consumed=True)


def _answer(answer: T | BaseException | None, error: type[NatsumeError]) -> T | None:
    """What was answered; nothing where it failed as may be, while the other one may know."""
    if isinstance(answer, BaseException):
        if not isinstance(answer, error):
            raise answer
        return None
    return answer
