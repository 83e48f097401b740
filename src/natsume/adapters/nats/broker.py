"""A connected broker: one wire and the ports over it, its clock and its boot mark."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from natsume.adapters.nats import claims, joins, limiters
from natsume.adapters.nats.batch_publish import BatchPublisher
from natsume.adapters.nats.clock import BrokerClock
from natsume.adapters.nats.config import KvValue
from natsume.adapters.nats.connection import connect_wire
from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.flags import KvFlags
from natsume.adapters.nats.inquiries import StreamInquiries
from natsume.adapters.nats.later import Later
from natsume.adapters.nats.leases import BUCKET, KvLeases
from natsume.adapters.nats.letters import StreamLetters
from natsume.adapters.nats.line import Line
from natsume.adapters.nats.lines import StreamLines
from natsume.adapters.nats.lock_list import LockList
from natsume.adapters.nats.old_chunks import StreamOldChunks
from natsume.adapters.nats.old_joins import KvOldJoins
from natsume.adapters.nats.old_records import StreamOldRecords
from natsume.adapters.nats.outgoing import StreamOutgoing
from natsume.adapters.nats.presence import WirePresence
from natsume.adapters.nats.publish import WRONG_LAST_SEQUENCE, Publisher
from natsume.adapters.nats.pull import Arrived, Pulls
from natsume.adapters.nats.records import StreamRecords
from natsume.adapters.nats.request import requests
from natsume.adapters.nats.schedules import BUCKET as SCHEDULES_BUCKET
from natsume.adapters.nats.schedules import StreamSchedules
from natsume.adapters.nats.strikes import KvStrikes
from natsume.adapters.nats.waiting import StreamWaiting
from natsume.adapters.nats.wire import Wire
from natsume.core.delivery import EVERYTHING_IS_SUSPECT, Boot
from natsume.exceptions import BrokerError
from natsume.model import limits
from natsume.model.config import Applied, LimitsSet
from natsume.model.subject import EVENTS, RECORDS, TASKS, Lane, kv
from natsume.model.times import SETTLE_S
from natsume.settings import Settings

_log = logging.getLogger(__name__)

_STREAM_NOT_FOUND: Final = 10059


class BootMark(msgspec.Struct, frozen=True):
    """The last sequences that were stored before the broker's present run."""

    tasks: int
    records: int
    events: int = EVERYTHING_IS_SUSPECT


class Broker:
    """The ports over one connection; made by `connect`, ended by `close`."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._clock = BrokerClock(self._time)
        self.now = self._clock.now
        self.request = requests(wire)
        self.publisher = Publisher(wire)
        self._batches = BatchPublisher(wire)
        self._records_reader = DirectReader(wire, RECORDS)
        self._locks_reader = DirectReader(wire, f"KV_{BUCKET}")
        self.records = StreamRecords(self.publisher, self._batches, self._records_reader)
        self.outgoing = StreamOutgoing(self.publisher)
        self._tasks_reader = DirectReader(wire, TASKS)
        self._joins_reader = DirectReader(wire, f"KV_{joins.BUCKET}")
        self.joins = joins.KvJoins(self.publisher, self._joins_reader)
        self.old_joins = KvOldJoins(self._joins_reader, self.request)
        self.chunks = joins.RecordChunks(self.publisher, self._records_reader, self.request)
        self.inquiries = StreamInquiries(wire, self._records_reader, self._tasks_reader)
        self.letters = StreamLetters(self.publisher, self._records_reader, self.stream_info)
        line = Line(self.publisher, self._tasks_reader)
        self.strikes = KvStrikes(wire, self.publisher, line)
        self.lines = StreamLines(self._tasks_reader, self.request)
        self.old_records = StreamOldRecords(self._records_reader, self.request)
        self.old_chunks = StreamOldChunks(self._records_reader, self.request, self.stream_info)
        self._later = Later()
        self.leases = KvLeases(
            self.publisher, self._locks_reader, self.request, line, self.now, self.strikes, self._later
        )
        self.locks = LockList(self.publisher, self._locks_reader, self._tasks_reader, self.request, self.leases, line)
        self._claims_reader = DirectReader(wire, f"KV_{claims.BUCKET}")
        self._limiters_reader = DirectReader(wire, f"KV_{limiters.BUCKET}")
        self.limiters = limiters.KvLimiters(self.publisher, self._limiters_reader, self.now)
        self.claims = claims.KvClaims(self.publisher, self._claims_reader, self.request)
        self.flags = KvFlags(wire, self.publisher, self.request)
        self.waiting = StreamWaiting(self._tasks_reader, self.request)
        self.config = KvValue(wire, self.publisher, "tasks", Applied, "tasks file")
        self.limits = KvValue(wire, self.publisher, "limits", LimitsSet, "list of limits")
        self.config_reader = DirectReader(wire, f"KV_{SCHEDULES_BUCKET}")
        self.schedules = StreamSchedules(self.publisher, self._tasks_reader, self.config_reader, self.request)
        self.presence = WirePresence(wire)
        self.boot = Boot()
        self.records_mark = self.events_mark = EVERYTHING_IS_SUSPECT
        self.on_restarted: list[Callable[[], None]] = []
        self._server_id = wire.server_id
        self._known = asyncio.Event()
        self._created = "0"
        self.records_created = ""
        self._refreshing: asyncio.Task[None] | None = None
        wire.on_lost.append(self._on_lost)
        wire.on_restored.append(self._on_restored)

    @classmethod
    async def connect(cls, settings: Settings, *, name: str = "natsume") -> "Broker":
        """Connect; raises BrokerError or UsageError with one clear sentence."""
        return cls(await connect_wire(settings.nats_url, settings.security, name=name))

    async def refresh_clock(self) -> None:
        """Learn the broker's clock alone."""
        await self._clock.measure()

    async def refresh(self) -> None:
        """Learn the broker's clock, and the boot mark of its present run: the stream's end at its start.

        The first process to meet a new run of the server writes the mark, the others read it.
        """
        await self._clock.measure()
        info = await self.stream_info(TASKS)
        created = datetime.fromisoformat(info["created"])
        self._created = f"{int(created.timestamp() * 1e6):x}"
        records = await self.stream_info(RECORDS)
        self.records_created = str(records["created"])
        events = await self.stream_info(EVENTS)
        ends = (info["state"]["last_seq"], records["state"]["last_seq"], events["state"]["last_seq"])
        mark, marked_at = await self._mark(BootMark(*ends))
        self.leases.epoch = await self._epoch()
        self.boot = Boot(mark.tasks, marked_at + SETTLE_S if mark.tasks else 0.0)
        self.records_mark, self.events_mark = mark.records, mark.events
        self._known.set()

    async def settled(self) -> None:
        """Return once whoever outlived the broker's start has had the time to note what it runs."""
        while (left_s := self.boot.settled_at - self.now()) > 0:
            await (asyncio.sleep(left_s) if self._known.is_set() else self._known.wait())

    async def stream_info(self, stream: str, **query: object) -> dict[str, Any]:
        """The server's description of a stream; raises BrokerError where there is none."""
        answer = msgspec.json.decode(
            await self.request(f"$JS.API.STREAM.INFO.{stream}", msgspec.json.encode(query) if query else b"")
        )
        if "error" in answer:
            code = answer["error"].get("err_code", 0)
            advice = "; run `natsume topology apply`" if code == _STREAM_NOT_FOUND else ""
            raise BrokerError(f"stream {stream}: {answer['error']['description']}{advice}", code)
        return dict(answer)

    def deliveries(self, lanes: tuple[Lane, ...], arrived: Arrived, room: Callable[[], None]) -> Pulls:
        """The lanes, as one worker sees them."""
        return Pulls(self.wire, lanes, self._created, arrived, room)

    async def close(self) -> None:
        """Send what is due and disconnect."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        self._clock.close()
        await self._later.close()
        for value in (self.config, self.limits, self.strikes, self.flags):
            value.close()
        self._limiters_reader.close()
        self._claims_reader.close()
        self.publisher.close()
        self._batches.close()
        self._records_reader.close()
        self._locks_reader.close()
        self._tasks_reader.close()
        self._joins_reader.close()
        self.config_reader.close()
        await self.wire.close()

    async def _time(self) -> float:
        return datetime.fromisoformat((await self.stream_info(TASKS))["ts"]).timestamp()

    def follow_epoch(self, tell: Callable[[], None] = lambda: None) -> None:
        """Give tokens of a later epoch as soon as a conductor has found that the broker is another, and `tell`."""

        def told(_subject: bytes, _reply: bytes, body: bytes, _headers: bytes | None) -> None:
            if body.isdigit() and len(body) <= len(str(limits.EPOCH_MAX)):
                self.leases.epoch = max(self.leases.epoch, int(body))
                tell()

        self.wire.listen(kv("config", "epoch"), told)

    async def _epoch(self) -> int:
        """How many brokers' data were lost before this one's, as `config` says; nothing said is none."""
        found = await self.config_reader.last([kv("config", "epoch")])
        text = found[0].body.decode("utf-8", "replace") if found else ""
        if not text:
            return 0
        if not text.isdecimal() or int(text[:8]) > limits.EPOCH_MAX or len(text) > 8:
            raise BrokerError(
                f"the key epoch in the bucket config is {text[:20]!r}, no number up to {limits.EPOCH_MAX}"
            )
        return int(text)

    async def _mark(self, mark: BootMark) -> tuple[BootMark, float]:
        """The mark that stands, and when it was stored."""
        key = kv("config", f"boot.{self.wire.server_id}")
        fence = b"Nats-Expected-Last-Subject-Sequence: 0\r\n"
        try:
            await self.publisher.publish(key.encode(), fence, msgspec.json.encode(mark))
        except BrokerError as error:
            if error.code != WRONG_LAST_SEQUENCE:
                raise
            reader = DirectReader(self.wire, "KV_config")
            try:
                standing = (await reader.last([key]))[0]
                stored_at = datetime.fromisoformat(standing.at).timestamp()
                return msgspec.json.decode(standing.body, type=BootMark), stored_at
            finally:
                reader.close()
        return mark, self.now()

    def _on_lost(self) -> None:
        self.boot = Boot()
        self._known.clear()
        self.records_mark = self.events_mark = EVERYTHING_IS_SUSPECT
        _log.warning("the connection to the broker is lost; reconnecting")

    def _on_restored(self) -> None:
        _log.warning("the connection to the broker is back")
        if self._server_id != self.wire.server_id:
            self._server_id = self.wire.server_id
            for restarted in self.on_restarted:
                restarted()
        self._refreshing = asyncio.get_running_loop().create_task(self._refresh_until_known())

    async def _refresh_until_known(self) -> None:
        while True:
            try:
                return await self.refresh()
            except BrokerError as error:
                _log.warning("the broker's state could not be read, it is tried again: %s", error)
                await asyncio.sleep(1.0)
