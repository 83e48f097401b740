"""Messages that nobody should send, from a seed: each says what must become of it."""

import json
import random
from collections.abc import Iterator
from typing import NamedTuple

KNOWN = b"task.normal.small.chaos.Noop"
LANES = (b"task.realtime.small", b"task.normal.small", b"task.background.small")
STREAM_MAX = 512 * 1024
ARGUMENTS_MAX = 256 * 1024
RUNS, DIES = True, False
"""What must become of a message; None where both would do."""


class Message(NamedTuple):
    """What is written on the socket: `headers` are the lines below `NATS/1.0`, as they are; `claims` valid ids."""

    kind: str
    subject: bytes
    headers: bytes
    body: bytes
    runs: bool | None
    claims: tuple[str, ...] = ()


class Garbage:
    """An endless supply from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._ids: list[str] = []
        self._kinds = {
            self.valid: 20,
            self.valid_with_headers: 15,
            self.garbage_body: 20,
            self.wrong_arguments: 10,
            self.nested_bomb: 4,
            self.oversized: 0.2,
            self.unknown_actor: 3,
            self.odd_subject: 6,
            self.broken_header: 12,
            self.huge_header: 0.5,
            self.foreign_header: 6,
            self.same_id: 4,
        }

    def __iter__(self) -> Iterator[Message]:
        makers, weights = list(self._kinds), list(self._kinds.values())
        while True:
            yield self._random.choices(makers, weights)[0]()

    def valid(self) -> Message:
        return Message("valid", KNOWN, b"", self._arguments(), RUNS)

    def valid_with_headers(self) -> Message:
        task = self._new_id()
        lines = [
            b"ce-id: " + task.encode(),
            b"ce-time: 2026-11-21T07:30:00.5+01:00",
            b'natsume-labels: {"a":"b\xc3\xa9"}',
        ]
        lines += self._random.sample(
            [b"Natsume-Tenant: lhcb", b"CE-Type: x", b"x-anything: at all", b"NATSUME-ATTEMPT: 0", b"Natsume-Resent: 1",
             b"Natsume-Hop: 100000", b"traceparent: 00-aa-bb-01", b"Natsume-Tracked: 1", b"ce-source:"], 4)  # fmt: skip
        return Message("valid with headers", KNOWN, _lines(*lines), self._arguments(), RUNS, (task,))

    def garbage_body(self) -> Message:
        bodies = [
            self._bytes(1, 300),
            b"\xff\xfe" + self._arguments(),
            self._arguments()[:-1],
            b'{"text": "\xc3\x28"}',
            b'{"text": "\\ud800"}',
            b"[1, 2]",
            b"3.5",
            b'"text"',
            b"{}{}",
            b'{"number": 1e999}',
            b'{"number": NaN}',
            b"\x00" * 20,
            b'{"number": ' + b"9" * 5000 + b"}",
        ]
        return Message("garbage body", KNOWN, b"", self._random.choice(bodies), DIES)

    def wrong_arguments(self) -> Message:
        values = [
            {"number": "x"},
            {"number": 1.5},
            {"number": None},
            {"nummer": 1},
            {"\u0001\u2028" * 50: 1},
            {"text": ["a"]},
            {"number": {"a": 1}},
            {"n" * 20_000: 1},
        ]
        return Message("wrong arguments", KNOWN, b"", json.dumps(self._random.choice(values)).encode(), DIES)

    def nested_bomb(self) -> Message:
        depth = self._random.choice([70, 1_000, 50_000, 120_000])
        opening, closing = self._random.choice([(b"[", b"]"), (b'{"a":', b"}")])
        depth = min(depth, ARGUMENTS_MAX // (len(opening) + 1) - 100)
        middle = opening * depth + b"1" + closing * depth
        body = self._random.choice([middle, b'{"text": ' + middle + b"}", opening * depth])
        return Message("nested bomb", KNOWN, b"", body, DIES)

    def oversized(self) -> Message:
        size = self._random.choice([ARGUMENTS_MAX + 1, 400_000, STREAM_MAX - 200])
        filler = self._random.choice([b"a", b"\x00", b"[", b"\xff"])
        body = b'{"text": "' + filler * (size - 12) + b'"}'
        subject = self._random.choice([KNOWN, b"task.normal.small.chaos.Nobody"])
        return Message("oversized", subject, b"", body, DIES)

    def unknown_actor(self) -> Message:
        subject = self._lane() + b".chaos.No" + self._token()
        return Message("unknown actor", subject, *self._maybe_id(), self._bytes(0, 200), DIES)

    def odd_subject(self) -> Message:
        ends = [
            b".chaos",
            b".chaos.Noop.extra",
            b".chaos.Noop" + b".x" * 40,
            ".größe.Ünïcode".encode(),
            b".ch=61os.Noop",
            b".chaos.=FF=FE",
            b".chaos.=zz",
            b".chaos.=",
            b".=.=",
            b".chaos.\xff\xfe",
            b".chaos.N=6Fop",
            b"." + b"a" * 1500 + b"." + b"b" * 1500,
            b".chaos.=3A=00",
        ]
        subject = self._lane() + self._random.choice(ends)
        return Message("odd subject", subject, b"", self._arguments(), DIES)

    def broken_header(self) -> Message:
        task = self._new_id()
        claim = b"ce-id: " + task.encode()
        broken = self._random.choice([
            b"ce-id: has.dots", b"ce-id: *", b"ce-id: a>b", b"ce-id: ", b"ce-id: " + b"x" * 129, b"ce-id: \xff\xfe",
            b"natsume-attempt: -1", b"natsume-attempt: 99999999999999999999", b"natsume-attempt: 1e3",
            b"natsume-hop: -5", b"natsume-hop: 10000000", b"natsume-waits: x", b"natsume-offers: \xd9\xa1",
            b"ce-time: yesterday", b"ce-time: 9999-12-31T23:59:59-23:59", b"ce-time: 0001-01-01T00:00:00+23:59",
            b"ce-time: \xff", b"ce-time: 2026-02-30T00:00:00Z",
            b"natsume-labels: {", b'natsume-labels: {"a": 1}', b"natsume-labels: " + b"[" * 10_000,
            b'natsume-labels: {"a": "\xff"}', b"natsume-labels: []",
            b"natsume-owner: \xff\xfe", b"natsume-owner: a\x01b", b"natsume-tenant: " + b"t" * 1025,
            b"natsume-parent: a.b", b"natsume-root: >", b"natsume-join: a b", b"traceparent: \x00",
            b"natsume-schema: 2", b"natsume-schema: \xff",
        ])  # fmt: skip
        if broken.startswith(b"ce-id"):
            return Message("broken header", KNOWN, _lines(broken), self._arguments(), DIES)
        subject = self._random.choice([KNOWN, KNOWN, b"task.normal.small.chaos.Nobody"])
        order = [claim, broken] if self._random.random() < 0.5 else [broken, claim]
        return Message("broken header", subject, _lines(*order), self._arguments(), DIES, (task,))

    def huge_header(self) -> Message:
        size = self._random.choice([17_000, 60_000, 200_000])
        line = b"x-huge: " + self._random.choice([b"h", b"\x01", b"\xff"]) * size
        return Message("huge header", KNOWN, _lines(line), self._arguments(), DIES)

    def foreign_header(self) -> Message:
        """Names that mean something to the server: it refuses some of these messages, and stores the others."""
        task = self._new_id()
        claim = b"ce-id: " + task.encode()
        odd = [
            [b"no colon at all"], [b"\xff\xfe: \xff"], [b": no name"], [b"x" * 3000], [b"", b""],
            [b"two: a", b"two: b"],
            [b"Nats-Schedule: nonsense"], [b"Nats-Schedule-Target: *"],
            [b"Nats-Scheduler: later.nobody.1"], [b"Nats-Scheduler: later.nobody.1", b"Nats-Schedule-Next: purge"],
            [b"Nats-Schedule-Next: purge"], [b"Nats-TTL: 3600s"], [b"Nats-TTL: never"], [b"Nats-TTL: -1"],
            [b"Nats-Expected-Last-Sequence: 1"], [b"Nats-Expected-Last-Subject-Sequence: 0"],
            [b"Nats-Expected-Stream: TASKS"], [b"Nats-Expected-Stream: OTHER"], [b"Nats-Msg-Id: " + task.encode()],
            [b"Nats-Incr: 1"], [b"Nats-Batch-Id: b", b"Nats-Batch-Sequence: 1"], [b"Nats-Marker-Reason: Purge"],
            [b"Nats-Sequence: 1", b"Nats-Subject: other", b"Nats-Stream: other", b"Nats-Time-Stamp: never"],
            [b"Status: 503"], [b"KV-Operation: DEL"],
        ]  # fmt: skip
        alone = [
            [b"Nats-Rollup: sub"],
            [b"Nats-Schedule: @at 2099-01-01T00:00:00Z", b"Nats-Schedule-Target: task.normal.small.chaos.Other"],
            [b"Nats-Schedule: @every 1s", b"Nats-Schedule-Target: task.background.small.chaos.Nobody"],
        ]
        if self._random.random() < 0.1:  # to the server these replace what lies on their subject: here nothing does
            subject = self._lane() + b".alone." + self._token()
            lines = _lines(claim, *self._random.choice(alone))
            return Message("foreign header", subject, lines, b"{}", DIES, (task,))
        lines = [claim, *self._random.choice(odd)]
        self._random.shuffle(lines)
        return Message("foreign header", KNOWN, _lines(*lines), self._arguments(), RUNS, (task,))

    def same_id(self) -> Message:
        """An id that came before, or two ids in one message."""
        if not self._ids or self._random.random() < 0.3:
            first, second = self._new_id(), self._new_id()
            lines = _lines(b"ce-id: " + first.encode(), b"CE-ID: " + second.encode())
            return Message("two ids", KNOWN, lines, self._arguments(), RUNS, (first, second))
        task = self._random.choice(self._ids)
        return Message("same id", KNOWN, _lines(b"ce-id: " + task.encode()), self._arguments(), None, (task,))

    def _arguments(self) -> bytes:
        return json.dumps({"number": self._random.randrange(10**6), "text": "t" * self._random.randrange(50)}).encode()

    def _bytes(self, least: int, most: int) -> bytes:
        return self._random.randbytes(self._random.randint(least, most))

    def _token(self) -> bytes:
        return self._random.randbytes(4).hex().encode()

    def _lane(self) -> bytes:
        return self._random.choice(LANES)

    def _new_id(self) -> str:
        task = f"fuzz-{self._random.randbytes(8).hex()}"
        self._ids.append(task)
        return task

    def _maybe_id(self) -> tuple[bytes]:
        return (b"",) if self._random.random() < 0.5 else (b"x-note: none\r\n",)


def _lines(*lines: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in lines)
