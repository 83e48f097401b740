"""What services use: submit tasks and ask what became of them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from msgspec.structs import replace

from natsume.actors.registry import Registry
from natsume.binding import withdraw
from natsume.core.claim import key_of
from natsume.core.rights import Act, Who, who_is
from natsume.exceptions import UnknownTask
from natsume.flows import Flow
from natsume.model.claim import Unique, unique_of
from natsume.model.record import Place, When
from natsume.model.status import Status
from natsume.model.task import ENDED, Task
from natsume.ports import Chunks, Claims, EventSink, Inquiries, Letters, Outgoing, Reading, Records
from natsume.service.cancelling import Cancelling
from natsume.service.grouping import Grouping
from natsume.service.insist import insist
from natsume.service.ledger import Ledger
from natsume.service.outcomes import check_on_duplicate, checked_token, result_of, told_of_duplicate
from natsume.service.publishing import event_of
from natsume.service.replaying import DeadLetters, user
from natsume.service.sending import Sending
from natsume.service.submission import due_at, message_of
from natsume.service.tracking import track as write_submitted
from natsume.service.unique import Uniqueness

if TYPE_CHECKING:
    from natsume.outbox import AnySession


class Client:
    """A service's connection; made by `natsume.connect`, usable as `async with`."""

    def __init__(
        self,
        outgoing: Outgoing,
        inquiries: Inquiries,
        records: Records,
        chunks: Chunks,
        registry: Callable[[], Registry],
        now: Callable[[], float],
        close: Callable[[], Any],
        events: EventSink,
        claims: Claims,
        letters: Letters,
        cancelling: Cancelling,
        sending: Sending,
        reading: Reading,
    ) -> None:
        self._outgoing = outgoing
        self._inquiries = inquiries
        self._grouping = Grouping(records, chunks, lambda: self.registry, now)
        self._load = registry
        self._loaded: Registry | None = None
        self._now = now
        self._close = close
        self._events = events
        self.ledger = Ledger(inquiries, reading, lambda: self.registry)
        self.letters = DeadLetters(letters, inquiries, outgoing, lambda: self.registry, now, self.ledger.allowed)
        self._uniqueness = Uniqueness(claims, inquiries, outgoing)
        self._cancelling = cancelling
        self.sending = sending

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect."""
        withdraw(self)
        await self.ledger.close()
        await self._close()

    @property
    def registry(self) -> Registry:
        """The actors that this process knows, loaded at the first use."""
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    async def submit(
        self,
        task: object,
        *,
        at: datetime | None = None,
        delay: float | timedelta | None = None,
        id: str | None = None,  # noqa: A002 - the word that users know
        owner: str | None = None,
        tenant: str | None = None,
        labels: Mapping[str, str] | None = None,
        track: bool | None = None,
        unique: Unique | Literal["args", "id"] | None = None,
        on_duplicate: Literal["return", "raise"] = "return",
        session: "AnySession | None" = None,
    ) -> str:
        """Submit a task, now, `at` a time or after a `delay`; returns its token, which is its id.

        With a `session` of SQLAlchemy it is written into the outbox of that database, in its transaction, and is
        submitted by a relay once that has committed.

        The broker has stored it when this returns. Raises ArgumentsError before anything is sent, and
        NotAcknowledged if the broker did not answer within 30 s: then the task may or may not be stored,
        and submitting it again under the same id does no harm.

        Where the task is `unique`, here or by its class, and another one holds its place, nothing is sent:
        the holder's token is returned, or DuplicateTask raised with it.
        """
        check_on_duplicate(on_duplicate)
        actor = self.registry.of(task)
        now = self._now()
        message = message_of(actor, task, now, task_id=id, owner=owner, tenant=tenant, labels=labels)
        tracked = track if track is not None else bool(owner) or actor.dlq_eligible
        due = due_at(now, at, delay)
        unique = unique_of(unique) or actor.unique
        if session is not None:
            from natsume.outbox import enqueue  # noqa: PLC0415 - SQLAlchemy, for those who use it

            taken = None if unique is None else Place(key_of(message, unique), unique.period_s)
            await enqueue(session, replace(message, tracked=True), due, taken, now, self.sending.nudge)
            return message.id
        if unique is not None:
            place = Place(key_of(message, unique), unique.period_s)
            message, holder = await self._uniqueness.claim(message, due, place, now, repeated=unique.by == "id")
            if holder is not None:
                return told_of_duplicate(actor.name, holder, on_duplicate)
        elif tracked:
            message = replace(message, tracked=True)
        # An id of the caller's own may have been submitted before: it is looked up before it runs.
        await self._send(message, due, now, resent=id is not None)
        return message.id

    async def _send(self, message: Task, due: float | None, now: float, *, resent: bool) -> None:
        await write_submitted(self._outgoing, [message], now, due)
        if due is None:
            await insist(lambda again: self._outgoing.submit(message, resent=again or resent))
        else:
            await insist(lambda _: self._outgoing.arm(message, due))

    async def submit_many(
        self,
        tasks: Iterable[object],
        *,
        owner: str | None = None,
        tenant: str | None = None,
        track: bool | None = None,
    ) -> list[str]:
        """Submit many tasks at once; returns their tokens in order.

        All are checked before the first is sent. An owned or dead-letter eligible task is tracked, unless `track` says.
        """
        now = self._now()
        tasks, actor_of = list(tasks), self.registry.of
        messages = [message_of(actor_of(task), task, now, owner=owner, tenant=tenant) for task in tasks]
        if any(actor_of(task).unique for task in tasks):
            return [await self.submit(task, owner=owner, tenant=tenant, track=track) for task in tasks]
        if track is not False:
            wanted = [bool(track or owner or actor_of(task).dlq_eligible) for task in tasks]
            messages = [replace(one, tracked=tracked) for one, tracked in zip(messages, wanted, strict=True)]
            await write_submitted(self._outgoing, messages, now)
        await insist(lambda again: self._outgoing.submit_many(messages, resent=again))
        return [task.id for task in messages]

    async def spawn_with_callback(
        self,
        children: Iterable[object],
        callback: object,
        *,
        on_failure: object | None = None,
        when: When = When.ALL_SUCCEEDED,
        owner: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Submit a group and the callback that runs once after all of it; returns the id of their join.

        The group is there whole or not at all: it is one commit, of a parent that did nothing else.
        """
        return await self._grouping.spawn_with_callback(children, callback, on_failure, when, owner, tenant)

    async def spawn(self, flow: Flow, *, owner: str | None = None, tenant: str | None = None) -> str:
        """Submit a flow, whole or not at all; the id of its last task, or of a group the id of the tasks' parent."""
        return await self._grouping.spawn(flow, owner, tenant)

    async def publish(
        self,
        event: str,
        data: Any,
        *,
        id: str | None = None,  # noqa: A002 - the word that users know
        source: str | None = None,
    ) -> str:
        """Publish an event of this type, such as `job.submitted`; returns its id.

        Each actor that takes the event gets one task of it, however often it is published under one id.
        The broker has stored it when this returns; raises UsageError before anything is sent.
        """
        message = event_of(event, data, id, source, self._now())
        await insist(lambda again: self._events.publish(message, resent=again))
        return message.id

    async def schedule(
        self,
        task: object,
        *,
        at: datetime | None,
        labels: Mapping[str, str] | None,
        now: bool,
        session: "AnySession | None" = None,
    ) -> str:
        """What `task.schedule()` does outside a task, where this client is open or bound."""
        del now  # outside a task there is no commit to wait for
        return await self.submit(task, at=at, labels=labels, session=session)

    async def status(self, token: str, *, as_user: str | Who | None = None) -> Status:
        """What the broker and the ledger know of a task that `as_user` may see; raises UnknownTask."""
        return await self.ledger.status(token, as_user=as_user)

    async def cancel(
        self, token: str, *, why: str | None = None, cascade: bool = False, as_user: str | Who | None = None
    ) -> bool:
        """Wish a task cancelled, as one who may; whether this call set its flag, which nobody takes back.

        What has not started ends CANCELLED without running; what runs sees it in `should_cancel()`. With
        `cascade` its unfinished descendants end as well, also those of a task that has ended, and callbacks that were
        not submitted; those that only the ledger knows a little later. False if it was flagged before or has ended,
        unless a descendant was reached; raises UnknownTask or Forbidden.
        """
        status = await self.ledger.allowed(token, Act.CANCEL, as_user)
        try:
            return await self._cancelling.cancel(token, who_is(as_user).user or user(), why or "", cascade=cascade)
        except UnknownTask:
            if status.state not in ENDED:
                raise
            return False  # only the ledger knows it any more

    async def comment(self, token: str, text: str, *, as_user: str | Who | None = None) -> None:
        """Keep a comment with a task; raises UnknownTask."""
        await self.ledger.allowed(token, Act.COMMENT, as_user)
        await self._cancelling.comment(token, who_is(as_user).user or user(), text)

    async def result(
        self,
        token: str,
        timeout: float = 30.0,  # noqa: ASYNC109 - the promised name
        *,
        as_user: str | Who | None = None,
    ) -> Any:
        """Wait for a task to end and return what it returned; raises TaskFailed or TimeoutError.

        For `as_user` as `status` does: UnknownTask at once where there is no task that they may see.
        """
        if as_user is not None:
            return result_of(await self.ledger.end(token, timeout, as_user=as_user))
        try:
            async with asyncio.timeout(timeout):
                done = await self._inquiries.ended(checked_token(token))
        except TimeoutError:
            raise TimeoutError(f"task {token} has not ended within {timeout:g} s") from None
        return result_of(done)
