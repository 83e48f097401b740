"""Garbage through a real server and a real worker: `python -m tests.acceptance.chaos.fuzz N SEED`.

Every message that the server stored must end under exactly one done record: completed, or a dead letter
with a reason and its body. Only a message under an id that came before may share the other's record.
"""

import asyncio
import itertools
import json
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.model.record import Done
from natsume.model.task import State
from natsume.testing import until

from .garbage import Garbage, Message
from .installation import Installation, WorkerProcess

IN_FLIGHT_MAX = 500
FETCH = 200
FLAT = 1.25
BAD_LINES = ("could not be handled", "could not be dealt with", "Traceback")


class Sent(msgspec.Struct):
    """What is kept of a message that the server stored."""

    kind: str
    sequence: int
    crc: int
    runs: bool | None
    claims: tuple[str, ...]


class Ended(msgspec.Struct):
    """What is kept of a done record."""

    state: State
    reason: str | None
    crc: int | None


class Report(msgspec.Struct):
    """The counts, and what is wrong: nothing, if all promises hold."""

    sent: int
    stored: int
    refused: int
    completed: int
    dead: dict[str, int]
    repeats: int
    kinds: dict[str, int]
    memory_mb: list[float]
    wrong: list[str]

    def __str__(self) -> str:
        dead = sum(self.dead.values())
        return "\n".join([
            f"{self.sent} sent, {self.refused} refused by the server, {self.stored} stored =",
            f"{self.completed} completed + {dead} dead letters + {self.repeats} under an id that came before",
            f"dead letters: {self.dead}",
            f"kinds stored: {self.kinds}",
            f"the worker's memory in MB over time: {self.memory_mb[:: max(1, len(self.memory_mb) // 20)]}",
            *(f"WRONG: {sentence}" for sentence in self.wrong[:20]),
        ])  # fmt: skip


class Socket:
    """A connection of bare bytes, for what no client would send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._open: dict[int, Message] = {}
        self._changed = asyncio.Event()
        self.stored: list[Sent] = []
        self.refused: Counter[str] = Counter()

    @classmethod
    async def connect(cls, url: str) -> "Socket":
        where = urlsplit(url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 1}
        writer.write(b"CONNECT " + json.dumps(options).encode() + b"\r\nSUB fuzz.* 1\r\n")
        return cls(reader, writer)

    async def send(self, messages: Iterable[Message]) -> None:
        """Send all; returns when the server has answered each."""
        answers = asyncio.create_task(self._answers())
        for number, message in enumerate(messages, 1):
            self._open[number] = message
            head = b"NATS/1.0\r\n" + message.headers + b"\r\n" if message.headers else b""
            size = len(head) + len(message.body)
            verb = b"HPUB %b fuzz.%d %d %d\r\n" if head else b"PUB %b fuzz.%d %d\r\n"
            lengths = (len(head), size) if head else (size,)
            self._writer.write(verb % (message.subject, number, *lengths) + head + message.body + b"\r\n")
            await self._writer.drain()
            await self._until(IN_FLIGHT_MAX, answers)
        await self._until(0, answers)
        answers.cancel()
        self._writer.close()

    async def _until(self, open_max: int, answers: "asyncio.Task[None]") -> None:
        while len(self._open) > open_max:
            self._changed.clear()
            waiting = asyncio.create_task(self._changed.wait())
            await asyncio.wait({waiting, answers}, return_when=asyncio.FIRST_COMPLETED, timeout=30.0)
            assert waiting.done(), f"{len(self._open)} are not answered, such as {next(iter(self._open.values()))}"

    async def _answers(self) -> None:
        while line := await self._reader.readline():
            verb, *words = line.split()
            if verb == b"PING":
                self._writer.write(b"PONG\r\n")
            elif verb in (b"MSG", b"HMSG"):
                payload = (await self._reader.readexactly(int(words[-1]) + 2))[:-2]
                self._answered(int(words[0].split(b".")[1]), payload)
            elif verb == b"-ERR":
                raise AssertionError(f"the server says {line!r}")

    def _answered(self, number: int, payload: bytes) -> None:
        message = self._open.pop(number)
        self._changed.set()
        answer = json.loads(payload) if payload.startswith(b"{") else {"error": {"description": "no stream"}}
        if "error" in answer:
            self.refused[answer["error"]["description"]] += 1
        elif answer.get("duplicate"):
            self.refused["duplicate"] += 1
        else:
            sent = Sent(message.kind, answer["seq"], zlib.crc32(message.body), message.runs, message.claims)
            self.stored.append(sent)


async def fuzz(installation: Installation, count: int, seed: int) -> Report:
    """Send `count` messages to one worker, wait until nothing is left of them, and account for each."""
    worker = await installation.start_worker(100).ready()
    memory: list[float] = []
    sampling = asyncio.create_task(_sample(worker, memory, max(0.2, count / 20_000)))
    socket = await Socket.connect(installation.server.url)
    await socket.send(itertools.islice(Garbage(seed), count))
    wrong = await _left(installation, within_s=30 + count / 500)
    sampling.cancel()
    records = await _records(installation)
    wrong += _wrong(socket.stored, records)
    if not worker.alive:
        wrong.append("the worker died")
    wrong += [
        f"the worker said: {line}" for line in worker.said().splitlines() if any(bad in line for bad in BAD_LINES)
    ]
    ended = [record.reason for record in records.values()]
    return Report(
        sent=count,
        stored=len(socket.stored),
        refused=socket.refused.total(),
        completed=ended.count(None),
        dead=dict(Counter(reason for reason in ended if reason is not None)),
        repeats=len(socket.stored) - len(records),
        kinds=dict(Counter(sent.kind for sent in socket.stored)),
        memory_mb=[round(value) for value in memory],
        wrong=wrong,
    )


def grows(memory_mb: list[float]) -> bool:
    """Whether a worker's memory rose after the first third of the run."""
    third = len(memory_mb) // 3
    return max(memory_mb[-third:]) > FLAT * max(memory_mb[:third])


def _wrong(stored: list[Sent], records: dict[str, Ended]) -> Iterable[str]:
    """Each broken promise, as a sentence."""
    by_sequence = {int(task.split("-")[2]): task for task in records if task.startswith("at-")}
    accounted: dict[str, list[Sent]] = {}
    for sent in stored:
        found = [task for task in (*sent.claims, by_sequence.get(sent.sequence)) if task in records]
        if not found:
            yield f"nothing became of {sent}"
        for task in found[-1:]:
            accounted.setdefault(task, []).append(sent)
    for task, record in records.items():
        yield from (f"{sentence}: {task}, {record}" for sentence in _flaws(accounted.get(task, []), record))


def _flaws(messages: list[Sent], record: Ended) -> Iterable[str]:
    if not messages:
        yield "a record of no message"
        return
    if record.state is not State.COMPLETED and record.reason is None:
        yield "a failure that is no dead letter"
    if record.crc is not None and record.crc not in {sent.crc for sent in messages}:
        yield "a dead letter with another body"
    if len(messages) == 1 and messages[0].runs not in (None, record.state is State.COMPLETED):
        yield f"{messages[0]} ended otherwise than it must"


async def _left(installation: Installation, within_s: float) -> list[str]:
    """What the worker does not get rid of, as sentences."""

    async def look() -> dict[str, int]:
        state = (await installation.broker.stream_info("TASKS", subjects_filter=">"))["state"]
        return state.get("subjects") or {}

    try:
        await until(look, lambda subjects: not subjects, within_s=within_s)
    except AssertionError as late:
        return [f"messages are left: {late}"]
    return []


async def _sample(worker: WorkerProcess, memory: list[float], every_s: float) -> None:
    while worker.alive:
        memory.append(worker.memory_mb())
        await asyncio.sleep(every_s)


async def _records(installation: Installation) -> dict[str, Ended]:
    """All done records, by task."""
    subjects: list[str] = []
    total = 1
    while len(subjects) < total:
        query = {"subjects_filter": "record.done.>", "offset": len(subjects)}
        info = await installation.broker.stream_info("RECORDS", **query)
        page = info["state"].get("subjects") or {}
        subjects += page
        total = info.get("total", len(page)) if page else len(subjects)
    records: dict[str, Ended] = {}
    for first in range(0, len(subjects), FETCH):
        for stored in await installation.broker._records_reader.last(subjects[first : first + FETCH]):
            done = msgspec.json.decode(stored.body, type=Done)
            crc = None if done.letter is None else zlib.crc32(done.letter.body)
            records[done.id] = Ended(done.state, done.letter and str(done.letter.reason), crc)
    return records


async def _main(count: int, seed: int) -> int:
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as folder:
        installation = Installation(server, Path(folder), ack_wait_s=2.0)
        try:
            report = await fuzz(await installation.open(), count, seed)
        finally:
            await installation.close()
            server.kill()
    print(report)
    return bool(report.wrong or grows(report.memory_mb))


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]))))
