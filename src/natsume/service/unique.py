"""Submits a unique task: claims its place first, so that of many submissions one task comes."""

import os

from msgspec.structs import replace

from natsume.core.claim import Answer, answer
from natsume.exceptions import UsageError
from natsume.model.claim import Claim
from natsume.model.codec import decode
from natsume.model.record import Place
from natsume.model.subject import parse_ready
from natsume.model.task import ENDED, Task
from natsume.ports import Claims, Inquiries, Outgoing
from natsume.service.insist import insist
from natsume.service.submission import submitted_of

_ROUNDS_MAX = 100


class Uniqueness:
    """Claims places for tasks, and helps on what died between its claim and its task."""

    def __init__(self, claims: Claims, inquiries: Inquiries, outgoing: Outgoing) -> None:
        self._claims = claims
        self._inquiries = inquiries
        self._outgoing = outgoing

    async def claim(
        self,
        task: Task,
        due: float | None,
        place: Place,
        now: float,
        *,
        nonce: str | None = None,
        repeated: bool = False,
    ) -> tuple[Task, str | None]:
        """The task as it is to be sent, and None; or the task that holds its place already.

        A unique task is tracked: what started is then known by its records, and is not sent again. One whose
        submission may be `repeated` holds its place itself if it has ended; with the same `nonce` it knows its claim.
        """
        key = place.key
        task = replace(task, tracked=True, claim=key if place.period_s is None else None)
        claim = Claim(nonce or os.urandom(8).hex(), submitted_of(task, now, due), due, place.period_s)
        for _ in range(_ROUNDS_MAX):
            if await self._made(key, claim):
                return task, await self._ended(task, key, free=True) if repeated else None
            found = await self._claims.read(key)
            if found is None:  # freed meanwhile
                continue
            standing, revision = found
            status = await self._inquiries.status(standing.id)
            match answer(standing, claim.nonce, status.state if status is not None else None):
                case Answer.OURS:
                    free = place.period_s is None
                    return task, await self._ended(task, key, free=free) if repeated else None
                case Answer.FREE:
                    await self._claims.free(key, revision)
                    continue
                case Answer.HELP:
                    await self._help(standing)
            return task, standing.id
        raise UsageError(f"the place of a {task.actor} changes hands faster than it can be claimed; submit it again")

    async def _made(self, key: str, claim: Claim) -> bool:
        made = False

        async def create(_again: bool) -> None:
            nonlocal made
            made = await self._claims.create(key, claim)

        await insist(create)
        return made

    async def _ended(self, task: Task, key: str, *, free: bool) -> str | None:
        """The id of a task that ended before its place was claimed again, which is then given up.

        Asked once the claim stands: from then on no other submission of this id can come in between.
        """
        status = await self._inquiries.status(task.id)
        if status is None or status.state not in ENDED:
            return None
        if free:
            await self._claims.free_ended({key: task.id})
        return task.id

    async def _help(self, claim: Claim) -> None:
        """Send the holder's message again: a copy that was sent is dropped by its id, or looked up."""
        message = claim.message
        lane, actor = parse_ready(message.subject)
        envelope = decode(lane, actor, message.id, b"NATS/1.0\r\n%b\r\n" % message.headers.encode(), message.body)
        await insist(lambda _: self._outgoing.record(message))
        due = claim.due
        if due is None:
            await insist(lambda _: self._outgoing.submit(envelope.task, resent=True))
        else:
            await insist(lambda _: self._outgoing.arm(envelope.task, due))
