"""Direct gets: the last message of many subjects in one request, without the stream's leader."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Final

import msgspec

from natsume.adapters.nats.wire import Wire, status
from natsume.exceptions import BrokerError, Disconnected, NotAcknowledged
from natsume.model import limits, times

_END: Final = 204
_NONE: Final = 404
_NO_STREAM: Final = 503


class Stored(msgspec.Struct, frozen=True):
    """A message as a stream keeps it; `at` is the server's time stamp."""

    subject: str
    sequence: int
    at: str
    headers: dict[str, str]
    body: bytes


class DirectReader:
    """Reads last messages by subject, wildcards included, from one stream."""

    def __init__(self, wire: Wire, stream: str) -> None:
        self._wire = wire
        self._stream = stream
        self._request = f"$JS.API.DIRECT.GET.{stream}".encode()
        self._prefix = (wire.new_inbox() + ".").encode()
        self._count = itertools.count(1)
        self._open: dict[int, tuple[list[Stored], asyncio.Future[list[Stored]]]] = {}
        self._sid = wire.listen(self._prefix.decode() + "*", self._on_message)
        wire.on_lost.append(self._on_lost)

    async def last(self, subjects: Sequence[str]) -> list[Stored]:
        """The last message of each subject that has one; raises BrokerError."""
        return await self._ask({"multi_last": subjects})

    async def after(self, subject: str, sequence: int, count: int) -> list[Stored]:
        """The first `count` messages of a subject from a sequence on, fewer if they are large; raises BrokerError."""
        body = {"seq": max(sequence, 1), "next_by_subj": subject, "batch": count, "max_bytes": limits.SCAN_MAX}
        return await self._ask(body)

    async def _ask(self, body: dict[str, object]) -> list[Stored]:
        number = next(self._count)
        answer: asyncio.Future[list[Stored]] = asyncio.get_running_loop().create_future()
        self._wire.send(self._request, b"%b%d" % (self._prefix, number), b"", msgspec.json.encode(body))
        self._open[number] = ([], answer)
        try:
            async with asyncio.timeout(times.PUBACK_TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise NotAcknowledged("the broker did not answer a look-up of records in time") from None
        finally:
            self._open.pop(number, None)

    def close(self) -> None:
        """Stop listening."""
        self._wire.on_lost.remove(self._on_lost)
        self._wire.unlisten(self._sid)
        self._on_lost()

    def _on_message(self, subject: bytes, _reply: bytes, body: bytes, headers: bytes | None) -> None:
        waiting = self._open.get(int(subject[len(self._prefix) :]))
        if waiting is None or waiting[1].done():
            return
        found, answer = waiting
        code = status(headers)
        if code in {_END, _NONE}:
            answer.set_result(found)
        elif code == _NO_STREAM:
            sentence = f"the broker has no stream {self._stream}; run `natsume topology apply`"
            answer.set_exception(BrokerError(sentence, code))
        elif code:
            answer.set_exception(BrokerError("the look-up of records was refused by the broker", code))
        else:
            found.append(_stored(body, headers or b""))

    def _on_lost(self) -> None:
        for _, answer in self._open.values():
            if not answer.done():
                answer.set_exception(Disconnected("the connection was lost during a look-up"))


def _stored(body: bytes, headers: bytes) -> Stored:
    lines = dict(
        line.split(": ", 1) for line in headers[10:-4].decode("utf-8", "replace").split("\r\n") if ": " in line
    )
    return Stored(
        lines.pop("Nats-Subject", ""),
        int(lines.pop("Nats-Sequence", 0)),
        lines.pop("Nats-Time-Stamp", ""),
        lines,
        body,
    )
