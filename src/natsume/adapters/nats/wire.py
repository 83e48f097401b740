"""One connection to the broker, on nats-py's core: raw routes in, unbuffered sends out.

nats-py decodes every message into objects, queues it and wakes a task for it; a message that does not
decode ends its read loop for good. A route here gets the raw bytes at once, and what a handler raises
is logged, never fatal. Nothing is buffered over a reconnect: what was not on the wire is decided again.
This module and its parser alone touch private names of nats-py; the lock file pins the version that it was read from.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from nats.aio.client import Client
from nats.aio.subscription import Subscription

from natsume.adapters.nats.parsing import WireParser
from natsume.ending import end
from natsume.exceptions import Disconnected

Handler = Callable[[bytes, bytes, bytes, bytes | None], None]
"""Takes subject, reply, body and the raw header block (None without one)."""

Message = tuple[bytes, bytes, bytes, bytes]
"""Subject, reply, headers and body of what is sent."""

HEADER_LINE = b"NATS/1.0\r\n"

_log = logging.getLogger(__name__)

_CANCEL_AGAIN_S: Final = 0.05


class Wire(Client):
    """A nats-py connection with routes that see raw bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = WireParser(self, self._take)
        self._routes: dict[int, Handler] = {}
        self.losses = 0
        self.on_lost: list[Callable[[], None]] = []
        self.on_restored: list[Callable[[], None]] = []

    @property
    def server_id(self) -> str:
        """The id of the connected server's process; a restart changes it."""
        return str(self._server_info.get("server_id", ""))

    @property
    def server_version(self) -> str:
        """The connected server's version, such as `2.15.1`."""
        return str(self._server_info.get("version", ""))

    def listen(self, subject: str, handler: Handler) -> int:
        """Route a subject's messages to a handler, over reconnects, until `unlisten`; returns its number."""
        self._sid += 1
        sid = self._sid
        self._subs[sid] = Subscription(self, sid, subject)
        self._routes[sid] = handler
        if self.is_connected:
            self._write(b"SUB %b  %d\r\n" % (subject.encode(), sid))
        return sid

    def stop_interest(self, sid: int) -> None:
        """Tell the server to send no more on a route; what it has sent still comes."""
        self._subs.pop(sid, None)
        if self.is_connected:
            self._write(b"UNSUB %d\r\n" % sid)

    def unlisten(self, sid: int) -> None:
        """End a route; what the server has sent before it hears of this is dropped."""
        if sid in self._subs:
            self.stop_interest(sid)
        self._routes.pop(sid, None)

    def send(self, subject: bytes, reply: bytes, headers: bytes, body: bytes) -> None:
        """Put one message on the wire now, or raise Disconnected; `headers` are whole `Name: value` lines."""
        self._write_connected(_framed(subject, reply, headers, body))

    def send_all(self, messages: Iterable[Message]) -> None:
        """Put many messages on the wire now, in one piece, or raise Disconnected."""
        self._write_connected(b"".join([_framed(*message) for message in messages]))

    def _write_connected(self, command: bytes) -> None:
        if not self.is_connected:
            raise Disconnected("the broker is not connected now; nothing was sent")
        self._write(command)

    def _write(self, command: bytes) -> None:
        self._pending.append(command)
        self._pending_data_size += len(command)
        queue = self._flush_queue
        if queue is not None and queue.empty():
            queue.put_nowait(asyncio.get_running_loop().create_future())

    def _take(self, sid: int, subject: bytes, reply: bytes, body: bytes, headers: bytes | None) -> bool:
        handler = self._routes.get(sid)
        if handler is None:
            return False
        try:
            handler(subject, reply, body, headers)
        except Exception:  # noqa: BLE001 - raised here, it would end the connection's read loop
            _log.exception("a message on %r could not be handled", subject)
        return True

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """What has no route is of a request of nats-py's own; as raw as ours, it may not decode."""
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except Exception:  # noqa: BLE001 - as above
            _log.exception("a message on %r could not be handled", subject)

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        try:
            await super()._close(status, do_cbs)
        except asyncio.CancelledError:
            # A reconnect that has just begun waits for the end of the old transport, too: cancelled, it takes that
            # future along, and nobody has cancelled us.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
        trying = self._reconnection_task
        if trying is not None and trying is not asyncio.current_task():
            # It loses a cancellation that comes with a refusal, would try for ever, and hold up who waits.
            await end(trying, again_s=_CANCEL_AGAIN_S)

    async def _attempt_reconnect(self) -> None:
        self._pending.clear()
        self._pending_data_size = 0
        self.losses += 1
        for lost in self.on_lost:
            lost()
        await super()._attempt_reconnect()
        if self.is_connected:
            for restored in self.on_restored:
                restored()


def _framed(subject: bytes, reply: bytes, headers: bytes, body: bytes) -> bytes:
    if not headers:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(body), body)
    head = len(headers) + 12
    whole = head + len(body)
    return b"HPUB %b %b %d %d\r\nNATS/1.0\r\n%b\r\n%b\r\n" % (subject, reply, head, whole, headers, body)


def status(headers: bytes | None) -> int:
    """The status of a message that the server wrote itself, such as 408 or 503; 0 of any other message."""
    if headers is None or not headers.startswith(b"NATS/1.0 "):
        return 0
    code = headers[9:12]
    return int(code) if code.isdigit() else 0
