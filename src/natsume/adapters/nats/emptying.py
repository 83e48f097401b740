"""Empties a broker on purpose: holds its lanes, writes down what lies there, and removes its streams."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.direct import DirectReader, Stored
from natsume.adapters.nats.inquiries import waits_of
from natsume.adapters.nats.topology_files import load
from natsume.exceptions import BrokerError
from natsume.model import codec, limits
from natsume.model.record import Submitted
from natsume.model.subject import EVENTS, LANES, RECORDS, TASKS, parse_ready
from natsume.service.submission import submitted_of

_STREAM_MISSING: Final = 10059
_HELD_FOR: Final = timedelta(hours=1)
_KINDS: Final = ("task.>", "later.>", "parked.>")


class Emptying:
    """The steps, each of which may be repeated."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def hold(self, *, resume: bool = False) -> None:
        """Give out nothing more on any lane, for an hour at most; or, to `resume`, give out again."""
        until = datetime.fromtimestamp(0, UTC) if resume else datetime.now(UTC) + _HELD_FOR
        body = msgspec.json.encode({"pause_until": codec.timestamp(until.timestamp())})
        for lane in LANES:
            await self._api(f"CONSUMER.PAUSE.{TASKS}.{lane.consumer}", body)

    async def running(self) -> int:
        """Tasks that workers have in hand."""
        return sum([(await self._consumer(TASKS, lane.consumer))["num_ack_pending"] for lane in LANES])

    async def behind(self, *consumers: str) -> int:
        """Records that these consumers have not dealt with."""
        return sum([_left(await self._consumer(RECORDS, name)) for name in consumers])

    async def undispatched(self) -> int:
        """Events that have not become tasks."""
        answer = await self._api(f"CONSUMER.LIST.{EVENTS}", b"{}")
        return sum(_left(one) for one in answer.get("consumers") or ())

    async def sealed(self) -> bool:
        """Whether nothing can be added to TASKS any more."""
        info = await self._tasks()
        return info is None or bool(info["config"].get("sealed"))

    async def seal(self) -> None:
        """Let nothing be added to TASKS any more, for good; publishers are told, and try again."""
        config = (await self._broker.stream_info(TASKS))["config"]
        await self._api(f"STREAM.UPDATE.{TASKS}", msgspec.json.encode(config | {"sealed": True}))

    async def tasks(self) -> AsyncIterator[Submitted]:
        """All tasks that lie in TASKS, as submitted records; none where it is removed."""
        info = await self._tasks()
        if info is None:
            return
        created = datetime.fromisoformat(info["created"])
        reader = DirectReader(self._broker.wire, TASKS)
        try:
            for kind in _KINDS:
                sequence = 1
                while page := await reader.after(kind, sequence, limits.RESTORE_PAGE):
                    for stored in page:
                        if (record := _record(stored, f"{int(created.timestamp() * 1e6):x}")) is not None:
                            yield record
                    sequence = page[-1].sequence + 1
        finally:
            reader.close()

    async def remove(self) -> None:
        """Remove all streams and buckets of the topology that are there."""
        names = [entity.name for entity in load() if entity.kind == "stream"]
        # The records last: without them it is another broker.
        for name in sorted(names, key=lambda name: name == RECORDS):
            try:
                await self._api(f"STREAM.DELETE.{name}", b"")
            except BrokerError as error:
                if error.code != _STREAM_MISSING:
                    raise

    async def settings(self) -> tuple[float | None, int | None]:
        """`ack_wait` and the number of replicas, as they are now; None where nothing tells."""
        info = await self._tasks()
        if info is None:
            return None, None
        lane = await self._consumer(TASKS, LANES[0].consumer)
        return lane["config"]["ack_wait"] / 1e9, info["config"]["num_replicas"]

    async def _tasks(self) -> dict[str, Any] | None:
        try:
            return await self._broker.stream_info(TASKS)
        except BrokerError as error:
            if error.code != _STREAM_MISSING:
                raise
            return None

    async def _consumer(self, stream: str, name: str) -> dict[str, Any]:
        return await self._api(f"CONSUMER.INFO.{stream}.{name}", b"")

    async def _api(self, name: str, body: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = msgspec.json.decode(await self._broker.request(f"$JS.API.{name}", body))
        if "error" in answer:
            raise BrokerError(f"{name}: {answer['error']['description']}", answer["error"].get("err_code", 0))
        return answer


def _left(info: dict[str, Any]) -> int:
    return int(info["num_pending"] + info["num_ack_pending"])


def _record(stored: Stored, created: str) -> Submitted | None:
    """A message as a submitted record; None if nobody could run it."""
    at = datetime.fromisoformat(stored.at)
    if not stored.subject.startswith("task."):
        waits = waits_of(stored)
        return None if waits is None else submitted_of(replace(waits.task, tracked=True), at.timestamp(), waits.due_at)
    lane, actor = parse_ready(stored.subject)
    lines = "".join(f"{name}: {value}\r\n" for name, value in stored.headers.items())
    derived = f"at-{created}-{stored.sequence}-{_nanoseconds(stored.at)}"
    envelope = codec.decode(lane, actor, derived, f"NATS/1.0\r\n{lines}\r\n".encode(), stored.body)
    return None if envelope.fault else submitted_of(replace(envelope.task, tracked=True), at.timestamp())


def _nanoseconds(stamp: str) -> int:
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0")[:9] or 0)
