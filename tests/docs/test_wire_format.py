"""The page on the wire format says what the code reads and writes, and its messages run."""

import asyncio
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import nats
import pytest

from natsume import BaseTask
from natsume.actors.registry import Registry
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.model import codec, limits, times
from natsume.model.record import Done, Failed, Settled, Started, Submitted, replay_id
from natsume.model.subject import LANES, decode, parse_ready
from natsume.model.task import Reason, State
from natsume.model.told import Commented, Flag, Heartbeat, Progressed, Released
from natsume.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "wire-format.md").read_text()
RECORDS = {
    "done": Done,
    "failed": Failed,
    "started": Started,
    "submitted": Submitted,
    "settled": Settled,
    "released": Released,
    "progress": Progressed,
    "heartbeat": Heartbeat,
    "comment": Commented,
    "cancel": Flag,
}
READ_BY_PRESENCE = {"natsume-resent", "nats-scheduler"}


@dataclass
class ShipOrder(BaseTask):
    order: int
    express: bool = False

    async def execute(self):
        return {"parcel": f"P-{self.order}"}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """The names in the first column of all tables."""
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_the_headers_are_those_that_are_read():
    known = {name.decode() for name in codec._READERS} | READ_BY_PRESENCE
    assert {name.lower() for name in first_cells(section("Headers"))} == known


@pytest.mark.parametrize("name", sorted(READ_BY_PRESENCE))
def test_two_headers_count_by_presence(name):
    headers = f"NATS/1.0\r\n{name}: 0\r\n\r\n".encode()
    envelope = codec.decode(LANES[0], "a:B", "derived", headers, b"{}")
    assert (envelope.resent, envelope.fired) == (name == "natsume-resent", name == "nats-scheduler")


def test_what_is_written_is_read():
    lane, actor = parse_ready("task.normal.small.shop.ShipOrder")
    known = {
        "owner": "o",
        "tenant": "t",
        "parent": "p",
        "root": "r",
        "join": "j",
        "member": 3,
        "after": "a",
        "trace": "x",
        "replay_of": "q",
        "rights": "cancel=owner",
    }
    task = codec.Task(
        "i",
        actor or "",
        lane,
        b"{}",
        2,
        1,
        1,
        1,
        submitted_at=5.0,
        tracked=True,
        labels={"a": "b"},
        grants={"x": 1.5},
        **known,
    )
    envelope = codec.decode(lane, actor, "derived", b"NATS/1.0\r\n%b\r\n" % codec.task_headers(task), b"{}")
    assert (envelope.task, envelope.fault) == (task, None)


@pytest.mark.parametrize("name", ["Natsume-Attempt", "Natsume-Hop", "Natsume-Waits", "Natsume-Offers"])
def test_the_bounds_of_counts(name):
    read = [
        codec.decode(LANES[0], "a:B", "d", f"NATS/1.0\r\n{name}: {n}\r\n\r\n".encode(), b"")
        for n in (9_999_999, 10_000_000)
    ]
    assert [one.fault is None for one in read] == [True, False]


def test_the_bounds_that_the_page_names():
    named = (limits.ARGUMENTS_MAX, limits.TASK_MESSAGE_MAX, limits.HEADERS_MAX)
    assert named == (256 * 1024, 512 * 1024, 16 * 1024)
    named = (limits.HEADER_VALUE_MAX, limits.ID_MAX, limits.LABELS_MAX, limits.ATTEMPT_MAX, limits.NEST_MAX)
    assert named == (1024, 128, 32, 9_999_999, 64)
    assert (times.PLAIN_TTL_S, times.START_TTL_S, times.DUPLICATE_WINDOW_S) == (3600, 7 * 86400, 120)
    assert (times.TOLD_TTL_S, times.PROGRESS_EVERY_S, times.HEARTBEAT_S) == (7 * 86400, 0.5, 10)


def test_the_reasons_are_all_there():
    assert set(first_cells(section("What is refused"))) == {reason.value for reason in Reason}


@pytest.mark.parametrize("name", RECORDS)
def test_the_fields_are_all_there(name):
    text = section("Records").split(f"\n### {name}\n")[1].split("\n### ")[0]
    assert set(first_cells(text)) == set(RECORDS[name].__struct_fields__)


@pytest.mark.parametrize(("kind", "text"), re.findall(r"```json (\w+)\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_are_records(kind, text):
    record = msgspec.json.decode(text, type=RECORDS[kind])
    unknown = set(msgspec.json.decode(text)) - set(RECORDS[kind].__struct_fields__)
    assert (unknown, parse_ready("task.normal.small.shop.ShipOrder")[1]) == (set(), "shop:ShipOrder")
    if isinstance(record, Done) and record.letter is not None:
        assert record.letter.body == b'{"order":"x"}'
    if isinstance(record, Settled):
        assert record.replay == replay_id(record.id)
        record = record.message
    if isinstance(record, Submitted):
        headers = b"NATS/1.0\r\n%b\r\n" % record.headers.encode()
        envelope = codec.decode(*parse_ready(record.subject), "derived", headers, record.body)
        assert (envelope.fault, envelope.task.id, envelope.task.tracked) == (None, record.id, True)


def test_the_example_of_an_encoded_token():
    assert decode("a=2Eb") == "a.b"


@pytest.fixture(scope="module")
def server():
    with EmbeddedServer() as server:
        yield server
        server.kill()


@pytest.fixture
async def shop(server):
    registry = Registry.of_classes({"shop:ShipOrder": ShipOrder})
    settings = Settings(nats_url=server.url, ack_wait_s=2.0, grace_s=2.0)
    async with working(settings, registry), connect(settings=settings, registry=registry) as client:
        yield client


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
async def test_the_python_examples_run(server, shop, code):
    token = re.search(r'"ce-id": "([^"]+)"', code)
    assert token is not None
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code, server.url], check=True, timeout=30)
    assert await shop.result(token[1]) == {"parcel": f"P-{token[1].removeprefix('order-')}"}


async def test_a_bare_publish_runs(server, shop):
    connection = await nats.connect(server.url)
    told = await connection.subscribe("record.done.*.*")
    broker = connection.jetstream()
    ack = await broker.publish("task.normal.small.shop.ShipOrder", b'{"order":7}')
    record = msgspec.json.decode((await told.next_msg(10)).data, type=Done)
    message = re.fullmatch(rf"at-[0-9a-f]+-{ack.seq}-\d+", record.id)
    assert (record.kind, record.result, message is None) == ("plain", msgspec.Raw(b'{"parcel":"P-7"}'), False)
    await broker.publish("task.normal.small.shop.ShipOrder", b'{"order":"x"}')
    record = msgspec.json.decode((await told.next_msg(10)).data, type=Done)
    await connection.close()
    assert record.letter is not None
    assert (record.kind, record.state, record.letter.reason) == ("dead", State.FAILED, Reason.INVALID_ARGUMENTS)


async def test_a_second_copy_is_looked_up_if_it_says_so(server, shop, monkeypatch):
    ran = []

    async def execute(self):
        ran.append(self.order)

    # The plan holds no parameters, so that the method is found at each run.
    monkeypatch.setattr(ShipOrder, "execute", execute)
    connection = await nats.connect(server.url)
    broker = connection.jetstream()
    told = await connection.subscribe("record.done.*.*")

    async def send(headers):
        await broker.publish("task.normal.small.shop.ShipOrder", b'{"order":5}', headers=headers)

    await send({"ce-id": "twice"})
    await told.next_msg(10)
    await send({"ce-id": "twice", "Natsume-Resent": "1"})
    await send({"ce-id": "last"})
    assert (await told.next_msg(10)).subject == "record.done.plain.last"
    await connection.close()
    assert ran == [5, 5]
