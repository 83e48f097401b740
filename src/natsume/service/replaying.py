"""Replays and discards dead letters: the decision is recorded first, with the whole new message."""

import asyncio
import getpass
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from natsume.actors.registry import Actor, Registry
from natsume.core.rights import Act, Who, who_is
from natsume.core.settling import DeadLetter, Order, Outcome, Verdict, Wanted, judge, settled_of
from natsume.exceptions import BrokerError, UnknownTask, UsageError
from natsume.model.codec import clean
from natsume.model.record import Done, Settled, Submitted
from natsume.model.status import task_of
from natsume.model.subject import is_id
from natsume.model.task import State
from natsume.ports import Inquiries, Letters, Outgoing
from natsume.service.insist import insist

_NOT_STARTED = frozenset({None, State.ALLOCATED, State.ENQUEUED})
_ALL = Wanted()
T = TypeVar("T")


class Link(msgspec.Struct, frozen=True):
    """A decision on a dead letter or on one of its replays, and how the replay ended, if it has."""

    settled: Settled
    end: Done | None


class DeadLetters:
    """The dead letters of a broker; what is done with one is done once, whoever says it how often."""

    def __init__(
        self,
        letters: Letters,
        inquiries: Inquiries,
        outgoing: Outgoing,
        registry: Callable[[], Registry],
        now: Callable[[], float],
        allow: Callable[[str, Act, str | Who | None], Awaitable[object]] | None = None,
    ) -> None:
        self._letters = letters
        self._inquiries = inquiries
        self._outgoing = outgoing
        self._registry = registry
        self._now = now
        self._allow = allow

    async def replay(
        self,
        token: str,
        *,
        why: str | None = None,
        who: str | None = None,
        task: object | None = None,
        actor: str | None = None,
        as_user: str | Who | None = None,
    ) -> str:
        """Run a dead letter again; returns the token of its replay, the same however often this is called.

        With a `task` it runs with that one's arguments. `actor` is for a letter that names none. `as_user` needs the
        right to replay it; without, the caller is the operator.
        Raises UnknownTask, Forbidden, or UsageError where it cannot be replayed.
        """
        who = await self._by(token, as_user, who)
        (letter,) = await self.find([token])
        body = None
        if task is not None:
            given = self.actor_of(letter, actor)
            body = given.arguments.check(task)
        order = self.order(letter, who, why, body=body, actor=actor)
        settled = (await self._done(letter, order)).settled
        assert settled is not None
        assert settled.replay is not None
        return settled.replay

    async def discard(
        self, token: str, *, why: str | None = None, who: str | None = None, as_user: str | Who | None = None
    ) -> None:
        """Mark a dead letter as one that nobody will replay. Raises as `replay`, also if somebody has replayed it."""
        who = await self._by(token, as_user, who)
        (letter,) = await self.find([token])
        await self._done(letter, order_of(who, why, discard=True))

    async def ls(self, wanted: Wanted = _ALL, *, settled: bool = False) -> AsyncIterator[DeadLetter]:
        """The dead letters that are wanted, oldest first; with `settled` also those that were dealt with."""
        async for letter in self._letters.scan():
            if wanted.takes(letter.done) and (settled or letter.is_open):
                yield letter

    async def find(self, tokens: Sequence[str]) -> list[DeadLetter]:
        """These dead letters, in order; raises UnknownTask."""
        ids = [token for token in tokens if is_id(token)]
        ends = await self._inquiries.ends(ids)
        settled = await self._letters.settled(ids)
        for token in tokens:
            if token not in ends or ends[token].letter is None:
                raise UnknownTask(f"there is no dead letter {token!r}; `natsume dead ls` lists them")
        return [DeadLetter(ends[token], *settled.get(token, (None, 0))) for token in tokens]

    def actor_of(self, letter: DeadLetter, actor: str | None) -> Actor:
        """The actor of a letter, or the one that is given for a letter without; raises UsageError."""
        named = letter.done.actor
        if not named and actor is None:
            raise UsageError(f"{letter.done.id}: its subject names no actor: say which")
        found = self._registry().find(named or actor or "")
        if actor is not None and actor not in {found.name, found.name.partition(":")[2]}:
            raise UsageError(f"{letter.done.id} is for {found.name}, not for {actor}")
        return found

    def order(
        self,
        letter: DeadLetter,
        who: str | None,
        why: str | None,
        *,
        body: bytes | None = None,
        actor: str | None = None,
    ) -> Order:
        """The order to replay a letter; an `actor` must be its own, or is that of one without. Raises UsageError."""
        order = order_of(who, why, body=body)
        if actor is None or actor in {letter.done.actor, letter.done.actor.partition(":")[2]}:
            return order
        found = self.actor_of(letter, actor)
        return replace(order, actor=found.name, lane=found.lane)

    async def carry_out(self, letter: DeadLetter, order: Order) -> tuple[Verdict, DeadLetter]:
        """Do what is ordered, or finish what was begun; what it came to, and the letter after it."""
        verdict = judge(letter, order, self._now())
        match verdict.outcome:
            case Outcome.REPLAYED | Outcome.DISCARDED:
                nonce = os.urandom(6).hex()
                record = settled_of(letter, order, verdict.task, nonce, self._now())
                letter = await self._settle(letter, record)
                assert letter.settled is not None
                if letter.settled.nonce != nonce:  # somebody else was first: what they decided stands
                    return await self.carry_out(letter, order)
                letter = await self._send(letter, letter.settled)
            case Outcome.FINISHED:
                assert letter.settled is not None
                letter = DeadLetter(letter.done, await self.finish(letter.settled, letter.revision), letter.revision)
        return verdict, letter

    async def finish(self, settled: Settled, revision: int, *, ended: bool = False) -> Settled:
        """Have a replay in the broker that was begun, and say so; what has started, or `ended`, is not sent again.

        Any number may, at once: every copy is looked up before it runs.
        """
        assert settled.message is not None
        status = None if ended else await self._inquiries.status(settled.message.id)
        if not ended and (status and status.state) in _NOT_STARTED:
            await self._submit(settled.message)
        return await self._said(settled, revision)

    async def chains(self, ids: Sequence[str]) -> dict[str, list[Link]]:
        """What was decided on these dead letters and, one after the other, on their replays."""
        chains: dict[str, list[Link]] = {one: [] for one in ids}
        first_of = {one: one for one in ids}
        while first_of:
            found = [record for record, _ in (await self._letters.settled(list(first_of))).values()]
            ends = await self._inquiries.ends([record.replay for record in found if record.replay])
            for record in found:
                chains[first_of[record.id]].append(Link(record, ends.get(record.replay or "")))
            first_of = {record.replay: first_of[record.id] for record in found if record.replay}
        return chains

    async def _by(self, token: str, as_user: str | Who | None, who: str | None) -> str | None:
        """Who is recorded: the one in whose name this is done, if they may."""
        if as_user is None:
            return who
        assert self._allow is not None, "letters of a client know who may"
        await self._allow(token, Act.REPLAY, as_user)
        return who_is(as_user).user or who

    async def _done(self, letter: DeadLetter, order: Order) -> DeadLetter:
        verdict, letter = await self.carry_out(letter, order)
        if verdict.outcome is Outcome.REFUSED:
            raise UsageError(f"{letter.done.id}: {verdict.sentence}")
        return letter

    async def _settle(self, letter: DeadLetter, record: Settled) -> DeadLetter:
        """The letter with the decision that stands, this one or another's."""
        revision = None

        async def write(_again: bool) -> None:
            nonlocal revision
            revision = await self._letters.settle(record, 0)

        await insist(write)
        if revision is not None:
            return DeadLetter(letter.done, record, revision)
        standing = (await self._letters.settled([record.id])).get(record.id)
        if standing is None:
            raise BrokerError(f"what was decided on {record.id} was refused, and nothing stands: do it again")
        return DeadLetter(letter.done, *standing)

    async def _send(self, letter: DeadLetter, settled: Settled) -> DeadLetter:
        """Have the replay in the broker, if it is one, then say so."""
        if settled.message is None:
            return letter
        await self._submit(settled.message)
        return DeadLetter(letter.done, await self._said(settled, letter.revision), letter.revision)

    async def _submit(self, message: Submitted) -> None:
        await insist(lambda _: self._outgoing.record(message))
        # Always as resent: another may be sending it just now, and a copy is looked up before it runs.
        await insist(lambda _: self._outgoing.submit(task_of(message), resent=True))

    async def _said(self, settled: Settled, revision: int) -> Settled:
        sent = replace(settled, sent=True)
        await insist(lambda _: self._letters.settle(sent, revision))
        return sent


def order_of(who: str | None, why: str | None, *, discard: bool = False, body: bytes | None = None) -> Order:
    """An order, of the operating system's user where nobody else gives it; raises UsageError."""
    try:
        return Order(clean(who or user(), "who"), clean(why or "", "why"), discard, body)
    except ValueError as error:
        raise UsageError(str(error)) from None


async def paced(
    items: AsyncIterator[T],
    per_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[T]:
    """The items, no two of them closer than the rate allows."""
    due = clock()
    async for item in items:
        wait_s = due - clock()
        if wait_s > 0:
            await sleep(wait_s)
        due = max(due, clock()) + 1 / per_s
        yield item


def user() -> str:
    """The user of this process, as the operating system calls them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # in a container a user may have no name
        return str(os.getuid())
