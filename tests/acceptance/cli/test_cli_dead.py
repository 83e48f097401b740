"""Dead letters from the command line: replayed, edited and discarded, once each, over kills of the command itself."""

import json
import signal
from contextlib import asynccontextmanager

import msgspec
import nats
import pytest

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.direct import DirectReader
from natsume.model.record import Done, Letter, replay_id
from natsume.model.subject import TASKS
from natsume.model.task import Reason, State
from natsume.settings import Settings
from natsume.testing import until

KEYS = ["id", "actor", "reason", "error", "at", "attempts"]
OUTCOME = ["id", "actor", "reason", "outcome", "replay", "sentence"]


def rows(ran) -> list[dict]:
    return json.loads(ran.out)


@pytest.fixture
def letters(natsume, online, start):
    """Three dead letters of Fail, in the order of their deaths, of two tenants."""
    worker = start("worker")
    tokens = []
    for tenant in ("lhcb", "lhcb", "cms"):
        tokens.append(natsume("submit", "Fail", "--tenant", tenant).out.strip())
        worker.until(tokens[-1])
    ran = natsume("submit", "Echo", "--args", '["a"]', "--wait")
    assert (ran.code, worker.stop()) == (0, 0)
    return tokens


def test_a_replay_leaves_the_list_and_its_history_stays(natsume, letters, start):
    first = letters[0]
    (row,) = rows(natsume("dead", "replay", first, "--why", "the disk is back", "--who", "ada", "--json"))
    assert list(row) == OUTCOME
    assert (row["id"], row["outcome"], row["replay"]) == (first, "replayed", replay_id(first))
    left = rows(natsume("dead", "ls", "--json"))
    assert ([one["id"] for one in left], list(left[0])) == (letters[1:], KEYS)
    everything = rows(natsume("dead", "ls", "--all", "--json"))
    assert [(one["settled"], one["replay"]) for one in everything] == [("replayed", row["replay"])] + [(None, None)] * 2
    assert rows(natsume("tasks", "show", row["replay"], "--json"))["state"] == "ENQUEUED"
    worker = start("worker")
    worker.until(row["replay"])
    assert worker.stop() == 0
    shown = json.loads(natsume("dead", "show", first, "--json").out)
    (link,) = shown["history"]
    assert (link["who"], link["why"], link["replay"], link["state"]) == (
        "ada",
        "the disk is back",
        row["replay"],
        "FAILED",
    )
    assert (shown["settled"], shown["replay_of"], "Traceback" in shown["traceback"]) == ("replayed", None, True)
    again = json.loads(natsume("dead", "show", row["replay"], "--json").out)
    assert (again["replay_of"], again["history"], again["attempts"]) == (first, [], 1)
    ran = natsume("dead", "replay", first)
    assert (ran.code, ran.out) == (0, f"{first} unchanged as {row['replay']}\n")
    assert "the disk is back" in natsume("dead", "show", first).out


def test_a_filter_is_tried_dry_and_then_carried_out(natsume, letters):
    before = natsume("dead", "ls", "--all", "--json").out
    dry = natsume("dead", "replay", "--actor", "Fail", "--tenant", "lhcb", "--dry-run")
    assert dry.out == "".join(f"{one} would be replayed as {replay_id(one)}\n" for one in letters[:2])
    assert (dry.code, dry.error_lines) == (0, ["natsume: 2 replayed (dry run: nothing was changed)"])
    assert natsume("dead", "ls", "--all", "--json").out == before
    at = rows(natsume("dead", "ls", "--json"))[2]["at"]
    assert rows(natsume("dead", "ls", "--before", "1h", "--json")) == []
    assert [one["id"] for one in rows(natsume("dead", "ls", "--after", at, "--json"))] == letters[2:]
    done = natsume("dead", "discard", "--tenant", "cms", "--reason", "exhausted", "--after", "1h", "--rate", "1000")
    assert done.out == f"{letters[2]} discarded\n"
    assert [one["id"] for one in rows(natsume("dead", "replay", "--all", "--json"))] == letters[:2]
    assert rows(natsume("dead", "ls", "--json")) == []
    settled = [one["settled"] for one in rows(natsume("dead", "ls", "--all", "--json"))]
    assert settled == ["replayed", "replayed", "discarded"]
    refused = natsume("dead", "replay", letters[2])
    assert (refused.code, "has discarded it" in refused.out) == (1, True)
    assert natsume("dead", "replay", "--all").error_lines == ["natsume: no dead letter fits"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["replay"], 2, "say which: ids, a filter such as --actor, or --all"),
        (["discard", "a", "--all"], 2, "give ids or a filter, not both"),
        (["replay", "a", "--rate", "0"], 2, "'0' is not a number from 0.001 to 1000"),
        (["replay", "--before", "soon"], 2, "neither a time such as 2026-11-21T06:00 nor an age such as 2h"),
        (["edit", "a"], 2, "give the arguments either as --kwargs or as --body"),
        (["edit", "a", "--body", "nowhere.json"], 1, "nowhere.json cannot be read: No such file"),
        (["discard", "a", "--why", "two\nlines"], 1, "why must be printable"),
        (["replay", "no-such"], 1, "there is no dead letter 'no-such'"),
    ],
)
def test_what_is_no_clear_order_is_refused(natsume, online, arguments, code, says):
    if code == 1:
        assert natsume("topology", "apply").code == 0
    ran = natsume("dead", *arguments)
    assert (ran.code, len(ran.error_lines), says in ran.err) == (code, 1, True), ran.err


async def test_a_command_killed_in_the_middle_of_a_bulk_is_said_again(natsume, online, start, server):
    """Five kills, each wherever it hits: every letter has one replay, every replay one message, which runs once."""
    assert natsume("topology", "apply").code == 0
    names = [f"letter-{number:03}" for number in range(400)]
    body = b'{"text":"a"}'
    async with broker_of(server) as broker:
        for name in names:
            letter = Letter(Reason.EXHAUSTED, "task.normal.small.own.Echo", body)
            done = Done(name, "own:Echo", State.FAILED, name, "w", 1, 1.0, 2.0, "normal.small", letter=letter)
            await broker.records.commit(done)
        for _ in range(5):
            command = start("dead", "replay", "--actor", "Echo", "--rate", "1000")
            command.until(" as ", 40)
            assert command.stop(signal.SIGKILL) == -signal.SIGKILL
        left = len(rows(natsume("dead", "ls", "--json")))
        assert 0 < left <= 200
        last = natsume("dead", "replay", "--actor", "Echo", "--rate", "1000")
        assert (last.code, len(last.out.splitlines())) == (0, left)
        assert rows(natsume("dead", "ls", "--json")) == []
        sent = [message.headers["ce-id"] for message in await DirectReader(broker.wire, TASKS).after("task.>", 1, 1000)]
        assert sorted(sent) == sorted(map(replay_id, names))
        start("worker")
        ends = await until(lambda: broker.inquiries.ends(sent), lambda found: len(found) == len(names))
    assert {done.replay_of: (done.state, done.attempt) for done in ends.values()} == dict.fromkeys(
        names, (State.COMPLETED, 1)
    )


async def test_what_could_not_be_read_is_edited(natsume, online, start, server, tmp_path):
    worker = start("worker")
    worker.until("ready")
    connection = await nats.connect(server.url)
    told = await connection.subscribe("record.done.dead.*")
    send = connection.jetstream().publish
    ids = []
    for subject, body in (("own.Echo", b"not json"), ("own.Echo", b'{"text":7}'), ("nobody", b'{"text":"a"}')):
        await send(f"task.normal.small.{subject}", body)
        ids.append(msgspec.json.decode((await told.next_msg(10)).data, type=Done).id)
    await connection.close()
    unparsable, invalid, nobody = ids
    refused = natsume("dead", "replay", "--all")
    assert refused.code == 1
    assert f"{unparsable} refused: its body is no JSON object" in refused.out
    assert f"{nobody} refused: its subject names no actor" in refused.out
    assert f"{invalid} replayed as {replay_id(invalid)}" in refused.out, "as it came: a newer worker may take it"
    wrong = natsume("dead", "edit", unparsable, "--kwargs", '{"txt":"b"}')
    assert (wrong.code, "unknown argument" in wrong.err) == (1, True), wrong.err
    assert natsume("dead", "edit", unparsable, "--kwargs", '{"text":"b"}', "--dry-run").code == 0
    body = tmp_path / "body.json"
    body.write_text('{"text": "c", "times": 3}')
    edited = rows(natsume("dead", "edit", unparsable, "--body", str(body), "--json"))
    named = rows(natsume("dead", "replay", nobody, "--actor", "Echo", "--json"))
    assert (edited[0]["outcome"], named[0]["outcome"]) == ("replayed", "replayed")
    async with broker_of(server) as broker:
        ends = [await broker.inquiries.ended(replay_id(token)) for token in (unparsable, nobody)]
    assert [msgspec.json.decode(done.result) for done in ends] == ["ccc", "a"]
    assert [done.replay_of for done in ends] == [unparsable, nobody]


@asynccontextmanager
async def broker_of(server):
    broker = await Broker.connect(Settings(nats_url=server.url))
    try:
        yield broker
    finally:
        await broker.close()
