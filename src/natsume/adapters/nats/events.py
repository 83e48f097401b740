"""Events: published into EVENTS, and taken by one durable consumer per actor (ports EventSink, EventFeed).

A consumer starts at the position that is kept for its actor in the `config` bucket, so that one that was
deleted and made anew goes on where it was. What a new one may bring again is marked as suspect in its
metadata, where every conductor reads it.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.in_hand import ACK_WAIT_S, InHand
from natsume.adapters.nats.publish import WRONG_LAST_SEQUENCE, Publisher
from natsume.adapters.nats.request import Request
from natsume.adapters.nats.standing import StandingPull, ack_numbers
from natsume.adapters.nats.wire import Wire
from natsume.exceptions import BrokerError
from natsume.model import subject
from natsume.model.event import Envelope, event_headers, read_event, without_covered
from natsume.model.subject import EVENTS
from natsume.ports import EventDelivery, Subscription

_AHEAD: Final = 256
_CONSUMER_MISSING: Final = 10014
_CONSUMER_EXISTS: Final = 10148
_SUSPECT: Final = "natsume-suspect"
_ACK_WAIT_NS: Final = int(ACK_WAIT_S * 1e9)
_FENCE: Final = b"Nats-Expected-Last-Subject-Sequence: %d\r\n"


class Position(msgspec.Struct, frozen=True):
    """Up to where an actor's events are dispatched; `stream` tells the stream that is meant by its creation."""

    stream: str
    sequence: int


class StreamEvents:
    """Publishes events."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def publish(self, event: Envelope, *, resent: bool) -> None:
        """Store an event, unless the broker knows its id already."""
        headers = event_headers(event.id, event.type, event.at, event.source, resent=resent or event.resent)
        await self._publisher.publish(subject.event(event.type).encode(), headers, event.body)


class ActorEvents:
    """The events of several actors, each until it is acknowledged."""

    def __init__(self, wire: Wire, publisher: Publisher, request: Request) -> None:
        self._wire = wire
        self._publisher = publisher
        self._request = request
        self._positions = DirectReader(wire, "KV_config")
        self._in_hand = InHand(wire)
        self._arrived: asyncio.Queue[EventDelivery] = asyncio.Queue()
        self._pulls: dict[str, StandingPull] = {}
        self._suspect_to: dict[str, int] = {}
        self._kept: dict[str, Position] = {}
        self._created = "0"

    async def keep(self, wanted: Sequence[Subscription]) -> None:
        """Make the consumers that are missing, take from all of them, and keep how far they are.

        What is wrong with one of them is raised when the others are dealt with.
        """
        wrong: BrokerError | None = None
        for one in wanted:
            try:
                found = await self._info(one.actor)
                await (self._create(one) if found is None else self._follow(one, found))
            except BrokerError as error:
                wrong = error
        if wrong is not None:
            raise wrong

    async def batch(self, count_max: int) -> list[EventDelivery]:
        """At least one, as soon as there is one."""
        taken = [await self._arrived.get()]
        while len(taken) < count_max and not self._arrived.empty():
            taken.append(self._arrived.get_nowait())
        self._room()
        return taken

    def acknowledge(self, delivery: EventDelivery) -> None:
        """Say that its task is stored."""
        self._in_hand.acknowledge(delivery.token)

    def is_alone(self, delivery: EventDelivery) -> bool:
        """Whether surely nobody else has been brought this event for its actor."""
        return delivery.delivered == 1 and self._in_hand.is_alone(delivery.token)

    def leave(self, delivery: EventDelivery) -> None:
        """Let the broker bring an event again, but not at once."""
        self._in_hand.leave(delivery.token)

    def close(self) -> None:
        """Ask for nothing more; what was not acknowledged goes to others at once."""
        for standing in self._pulls.values():
            standing.end()
            standing.forget()
        self._in_hand.close()
        self._positions.close()

    async def _follow(self, one: Subscription, found: dict[str, Any]) -> None:
        config = found["config"]
        filters = _filters(one)
        same = sorted(config.get("filter_subjects") or [config.get("filter_subject")]) == sorted(filters)
        if not same or config["ack_wait"] != _ACK_WAIT_NS:
            config.pop("filter_subject", None)
            await self._send(one.actor, config | {"filter_subjects": filters, "ack_wait": _ACK_WAIT_NS}, "update")
        if one.actor not in self._pulls:
            self._created = await self._stream_token()
        self._suspect_to[one.actor] = int(config.get("metadata", {}).get(_SUSPECT, 0))
        position = Position(self._created, found["ack_floor"]["stream_seq"])
        if position != self._kept.get(one.actor) and position.sequence:
            await self._publisher.publish(_key(one.actor), b"", msgspec.json.encode(position))
            self._kept[one.actor] = position
        if one.actor not in self._pulls:
            self._take_from(one.actor)

    async def _create(self, one: Subscription) -> None:
        stream = await self._stream()
        self._created, last = _token(stream), stream["state"]["last_seq"]
        position = await self._position(one, last)
        suspect_to = last if position.sequence < last else 0
        config = {
            "name": subject.event_consumer(one.actor),
            "durable_name": subject.event_consumer(one.actor),
            "description": f"Events for {one.actor}",
            "filter_subjects": _filters(one),
            "ack_policy": "explicit",
            "ack_wait": _ACK_WAIT_NS,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": position.sequence + 1,
            "replay_policy": "instant",
            "max_deliver": -1,
            "max_ack_pending": -1,
            "max_waiting": 512,
            "metadata": {_SUSPECT: str(suspect_to)},
        }
        await self._send(one.actor, config, "create")
        found = await self._info(one.actor)
        if found is not None:
            await self._follow(one, found)

    async def _position(self, one: Subscription, last: int) -> Position:
        """Where an actor's events begin: as kept, else as it declares, which is kept from now on."""
        kept, revision = await self._read(one.actor)
        if kept is not None and kept.stream == self._created and kept.sequence <= last:
            return kept
        # A stream that was made anew holds nothing that was dispatched; to an actor that is new all is new.
        begins = 0 if kept is not None or one.events_from == "beginning" else last
        position = Position(self._created, begins)
        try:
            await self._publisher.publish(_key(one.actor), _FENCE % revision, msgspec.json.encode(position))
        except BrokerError as error:
            if error.code != WRONG_LAST_SEQUENCE:
                raise
            return await self._position(one, last)
        return position

    async def _read(self, actor: str) -> tuple[Position | None, int]:
        found = await self._positions.last([_key(actor).decode()])
        if not found or not found[0].body:
            return None, found[0].sequence if found else 0
        try:
            return msgspec.json.decode(found[0].body, type=Position), found[0].sequence
        except msgspec.MsgspecError as error:
            key = found[0].subject.removeprefix(subject.kv("config", ""))
            raise BrokerError(f"{key} in the bucket config is no position; delete it to start anew: {error}") from None

    async def _stream(self) -> dict[str, Any]:
        return await self._asked(f"STREAM.INFO.{EVENTS}", b"")

    async def _stream_token(self) -> str:
        return _token(await self._stream())

    async def _info(self, actor: str) -> dict[str, Any] | None:
        try:
            return await self._asked(f"CONSUMER.INFO.{EVENTS}.{subject.event_consumer(actor)}", b"")
        except BrokerError as error:
            if error.code != _CONSUMER_MISSING:
                raise
            return None

    async def _send(self, actor: str, config: dict[str, Any], action: str) -> None:
        body = {"stream_name": EVENTS, "config": config, "action": action}
        name = f"CONSUMER.CREATE.{EVENTS}.{subject.event_consumer(actor)}"
        try:
            await self._asked(name, msgspec.json.encode(body))
        except BrokerError as error:
            if error.code != _CONSUMER_EXISTS:  # else another conductor was faster
                raise

    async def _asked(self, name: str, body: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = msgspec.json.decode(await self._request(f"$JS.API.{name}", body))
        if "error" in answer:
            raise BrokerError(f"{name}: {answer['error']['description']}", answer["error"].get("err_code", 0))
        return answer

    def _take_from(self, actor: str) -> None:
        def take(name: bytes, reply: bytes, body: bytes, headers: bytes | None) -> None:
            delivered, sequence, stamp = ack_numbers(reply)
            self._in_hand.take(reply)
            event_type = name.decode("utf-8", "replace").partition(".")[2]
            derived = f"at-{self._created}-{sequence}-{stamp}"
            event = read_event(event_type, derived, stamp / 1e9, headers, body)
            suspect_to = self._suspect_to[actor]
            self._arrived.put_nowait(EventDelivery(actor, event, reply, sequence, delivered, suspect_to))

        standing = StandingPull(self._wire, EVENTS, subject.event_consumer(actor), take, self._room)
        self._pulls[actor] = standing
        standing.pull(_AHEAD)

    def _room(self) -> None:
        if self._arrived.qsize() > _AHEAD:
            return
        for standing in self._pulls.values():
            if standing.outstanding <= _AHEAD // 2:
                standing.pull(_AHEAD - standing.outstanding)


def _filters(one: Subscription) -> list[str]:
    return [subject.event(pattern) for pattern in without_covered(one.patterns)]


def _key(actor: str) -> bytes:
    return subject.kv("config", f"events.{subject.encode(actor)}").encode()


def _token(stream: dict[str, Any]) -> str:
    created = datetime.fromisoformat(stream["created"])
    return f"{int(created.timestamp() * 1e6):x}"
