"""A model of the broker as the locks use it: fenced writes with a TTL, deletes by sequence, a line of schedules.

Whoever speaks to it does so in steps: a request is on its way, takes effect, and its answer is on its way.
"""

import types
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime

import msgspec

from natsume.adapters.nats.direct import Stored
from natsume.exceptions import BrokerError

START = 1_000_000.0
WRONG_LAST_SEQUENCE = 10071


class Message(msgspec.Struct):
    """What lies on a subject: until `ends_at` as an entry of a lock, until `due` in a line."""

    stored: Stored
    ends_at: float | None = None
    due: float | None = None


class Broker:
    """The bucket `locks` and the parked subjects of TASKS, and its clock."""

    def __init__(self) -> None:
        self.now = START
        self.entries: dict[str, Message] = {}
        self.line: dict[str, Message] = {}
        self.on_ready: Callable[[Stored], None] = lambda _: None
        self.on_entry: Callable[[bytes], None] = lambda _: None
        self.on_woken: Callable[[Stored], None] = lambda _: None
        self._sequence = 0

    def publish(self, subject: str, headers: dict[str, str], body: bytes) -> int:
        """Store a message if its fence holds."""
        if subject.startswith("$KV.locks."):
            self._fence(self.entries, subject, headers)
            message = self._message(subject, headers, body)
            ttl = headers.get("Nats-TTL")
            message.ends_at = self.now + int(ttl.removesuffix("s")) if ttl else None
            self.entries[subject] = message
            self.on_entry(body)
        elif subject.startswith("parked."):
            self._fence(self.line, subject, headers)
            message = self._message(subject, headers, body)
            message.due = datetime.fromisoformat(headers["Nats-Schedule"].removeprefix("@at ")).timestamp()
            self.line[subject] = message
        else:
            self._fence(self.line, headers["Nats-Scheduler"], headers)
            assert headers["Nats-Schedule-Next"] == "purge"
            message = self._message(subject, headers, body)
            woken = self.line[headers["Nats-Scheduler"]]
            self.on_woken(woken.stored)
            del self.line[headers["Nats-Scheduler"]]
            self.on_ready(message.stored)
        return message.stored.sequence

    def delete(self, sequence: int) -> bool:
        """Remove an entry by its sequence."""
        found = [name for name, message in self.entries.items() if message.stored.sequence == sequence]
        for name in found:
            del self.entries[name]
        return bool(found)

    def advance(self, seconds: float) -> list[str]:
        """Let time go by: what ended is gone, what is due goes to its lane; the entries that ended."""
        self.now += seconds
        ended = self.expire()
        for name in [name for name, one in self.line.items() if one.due is not None and one.due <= self.now]:
            self.on_ready(self.line.pop(name).stored)
        return ended

    def expire(self) -> list[str]:
        """Forget the entries that have ended; which they were."""
        ended = [name for name, one in self.entries.items() if one.ends_at is not None and one.ends_at <= self.now]
        for name in ended:
            del self.entries[name]
        return ended

    def _message(self, subject: str, headers: dict[str, str], body: bytes) -> Message:
        self._sequence += 1
        at = datetime.fromtimestamp(self.now, UTC).isoformat()
        return Message(Stored(subject, self._sequence, at, headers, body))

    @staticmethod
    def _fence(messages: dict[str, Message], subject: str, headers: dict[str, str]) -> None:
        expected = headers.get("Nats-Expected-Last-Subject-Sequence")
        over = headers.get("Nats-Expected-Last-Subject-Sequence-Subject", subject)
        last = max((one.stored.sequence for name, one in messages.items() if matches(over, name)), default=0)
        if expected is not None and int(expected) != last:
            raise BrokerError(f"wrong last sequence: {last}", WRONG_LAST_SEQUENCE)


class Line:
    """One process's connection, as publisher, as reader and as request: every word takes two turns."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, subject: bytes, headers: bytes, body: bytes) -> int:
        await turn()
        try:
            return self._broker.publish(subject.decode(), _parsed(headers), body)
        finally:
            await turn()

    async def last(self, subjects: Sequence[str]) -> list[Stored]:
        await turn()
        self._broker.expire()
        found = [m.stored for name, m in self._broker.entries.items() if any(matches(one, name) for one in subjects)]
        await turn()
        return found

    async def after(self, subject: str, sequence: int, count: int) -> list[Stored]:
        await turn()
        line = sorted((m.stored for name, m in self._broker.line.items() if matches(subject, name)), key=_sequence)
        await turn()
        return [stored for stored in line if stored.sequence >= sequence][:count]

    async def request(self, _subject: str, body: bytes) -> bytes:
        await turn()
        done = self._broker.delete(msgspec.json.decode(body)["seq"])
        await turn()
        return b'{"success":true}' if done else b'{"error":{}}'


@types.coroutine
def turn(what: str = "") -> Generator[str, None, None]:
    """Let others go first; whoever is resumed by nobody has crashed here."""
    yield what


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject has this pattern of tokens."""
    tokens, wanted = subject.split("."), pattern.split(".")
    return len(tokens) == len(wanted) and all(w in ("*", t) for w, t in zip(wanted, tokens, strict=True))


def _parsed(headers: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in headers.decode().split("\r\n") if line)


def _sequence(stored: Stored) -> int:
    return stored.sequence
