"""The dispatcher: turns each pair of an event and an actor into one task, by an id that follows from both.

Any number may run. An event is acknowledged when its task or its dead letter is stored; a crash before
that brings it again, and then the task is sent as resent.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from natsume.actors.registry import Actor, Registry
from natsume.core import dispatch
from natsume.core.claim import place_of
from natsume.core.reaction import Due
from natsume.exceptions import ArgumentsError, BrokerError, Unparsable
from natsume.model.event import Envelope
from natsume.model.record import Done
from natsume.model.task import Fault, Reason, Task
from natsume.ports import EventDelivery, EventFeed, Outgoing, Records, Subscription
from natsume.runtime.claiming import Claiming
from natsume.service.tracking import track

_log = logging.getLogger(__name__)

_BATCH_MAX: Final = 256
_KEEP_S: Final = 5.0
_PAUSE_FIRST_S: Final = 0.1
_PAUSE_LAST_S: Final = 2.0


class Dispatcher:
    """Carries events to the actors of a registry, until it is cancelled."""

    def __init__(
        self,
        feed: EventFeed,
        outgoing: Outgoing,
        records: Records,
        registry: Registry,
        claiming: Claiming,
        now: Callable[[], float],
        boot_mark: Callable[[], int],
        worker: str,
    ) -> None:
        """`boot_mark` is the last event stored before the broker's present run: up to it, acks may be forgotten."""
        self._feed = feed
        self._outgoing = outgoing
        self._records = records
        self._actors = {actor.name: actor for actor in registry.actors if actor.events}
        self._claiming = claiming
        self._now = now
        self._boot_mark = boot_mark
        self._worker = worker
        self._nonce = os.urandom(6).hex()

    async def run(self) -> None:
        """Dispatch for ever; with no actor that takes events this does nothing."""
        if not self._actors:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep())
            while True:
                await self._insist(await self._feed.batch(_BATCH_MAX))

    async def _keep(self) -> None:
        """See to it that the subscriptions stand, and that their positions are known to others."""
        wanted = [Subscription(actor.name, actor.events, actor.events_from) for actor in self._actors.values()]
        while True:
            try:
                await self._feed.keep(wanted)
            except BrokerError as error:
                _log.warning("the subscriptions to events could not be kept, it is tried again: %s", error)
                await asyncio.sleep(_PAUSE_LAST_S)
            else:
                await asyncio.sleep(_KEEP_S)

    async def _insist(self, batch: list[EventDelivery]) -> None:
        """Dispatch until it is done: any prefix of it may be repeated."""
        pause_s, again = _PAUSE_FIRST_S, False
        while True:
            try:
                await self._dispatch(batch, again)
                for delivery in batch:
                    self._feed.acknowledge(delivery)
            except BrokerError as error:
                _log.warning("%d events wait for the broker: %s", len(batch), error)
                await asyncio.sleep(pause_s)
                pause_s, again = min(2 * pause_s, _PAUSE_LAST_S), True
            except Exception:  # noqa: BLE001 - one event must not end the duty, nor hold up the others
                if len(batch) == 1:
                    _log.exception("event %d cannot be dispatched; the broker brings it back", batch[0].sequence)
                    self._feed.leave(batch[0])
                    return
                for delivery in batch:
                    await self._insist([delivery])
                return
            else:
                return

    async def _dispatch(self, batch: Iterable[EventDelivery], again: bool) -> None:
        tasks: dict[bool, list[Task]] = {False: [], True: []}
        unique: list[Due] = []
        for delivery in batch:
            made = self._made(delivery)
            if isinstance(made, Done):
                await self._records.commit(made)
            elif made is None:
                continue
            elif (place := place_of(made, self._actors[made.actor].unique)) is not None:
                unique.append(Due(made, place=place))
            else:
                suspect_to = max(self._boot_mark(), delivery.suspect_to)
                alone = self._feed.is_alone(delivery)
                resent = dispatch.may_be_known(delivery.sequence, alone, delivery.event.resent, suspect_to=suspect_to)
                tasks[again or resent].append(made)
        for resent, ready in tasks.items():
            await self._submit(ready, resent)
        await self._claiming.submit(unique)

    async def _submit(self, tasks: list[Task], resent: bool) -> None:
        await track(self._outgoing, tasks, self._now())
        if tasks:
            await self._outgoing.submit_many(tasks, resent=resent)

    def _made(self, delivery: EventDelivery) -> Task | Done | None:
        actor, event = self._actors[delivery.actor], delivery.event
        body = arguments_of(actor, event)
        if body is None:
            return None
        if isinstance(body, Fault):
            at = self._now()
            return dispatch.dead_letter_of(event, actor.name, actor.lane, body, self._worker, self._nonce, at)
        return dispatch.task_of(event, actor.name, actor.lane, body, tracked=actor.dlq_eligible)


def arguments_of(actor: Actor, event: Envelope) -> bytes | Fault | None:
    """The arguments that an actor makes of an event; None where it declines, a fault where it does not fit."""
    try:
        made = event.event
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Fault(Reason.UNPARSABLE, f"its data is not JSON: {error}")
    from_event: Callable[[object], object] | None = getattr(actor.cls, "from_event", None)
    try:
        if from_event is not None:
            task = from_event(made)
            return None if task is None else actor.arguments.check(task)
        return _by_name(actor, made.data)
    except Unparsable as error:
        return Fault(Reason.UNPARSABLE, str(error))
    except ArgumentsError as error:
        return Fault(Reason.INVALID_ARGUMENTS, str(error))
    except Exception as error:  # noqa: BLE001 - the actor's own code, made of nothing but the event
        return Fault(Reason.INVALID_ARGUMENTS, f"{actor.name}.from_event failed: {type(error).__name__}: {error}")


def _by_name(actor: Actor, data: object) -> bytes:
    """The actor's arguments in an event's data; what it does not take is for others."""
    if not isinstance(data, dict):
        raise Unparsable(f"{actor.name}: its data is no JSON object of arguments by name")
    body = msgspec.json.encode({name: data[name] for name in actor.arguments.names if name in data})
    actor.arguments.decode(body)
    return body
