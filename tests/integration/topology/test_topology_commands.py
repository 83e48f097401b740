"""`natsume topology …` as its users see it, over a connection that the test provides."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import nats
import pytest
import typer
from typer.testing import CliRunner, Result

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.adapters.nats.request import Request
from natsume.cli.topology import build
from natsume.exceptions import BrokerError

Run = Callable[[str], Result]


@pytest.fixture
def run(server: EmbeddedServer) -> Run:
    @asynccontextmanager
    async def connect(context: typer.Context) -> AsyncIterator[Request]:
        connection = await nats.connect(server.url, allow_reconnect=False)

        async def request(subject: str, payload: bytes) -> bytes:
            return (await connection.request(subject, payload, timeout=5)).data

        try:
            yield request
        finally:
            await connection.close()

    app = build(connect)
    return lambda line: CliRunner().invoke(app, line.split())


def test_apply_says_what_it_did_and_then_that_nothing_is_left(run: Run) -> None:
    first = run("apply --json")
    assert first.exit_code == 0, first.output
    assert {"entity": "TASKS", "action": "created", "fields": []} in json.loads(first.output)
    assert json.loads(run("apply --json").output) == []
    assert run("apply").output == "nothing to change\n"


def test_diff_is_a_table_or_json_and_fails_when_asked_to(run: Run) -> None:
    run("apply --ack-wait-s 7")
    found = json.loads(run("diff --json").output)
    assert {"entity": "TASKS/normal-small", "field": "ack_wait", "there": 7 * 10**9, "here": 30 * 10**9} in found
    table = run("diff")
    assert table.exit_code == 0
    assert "TASKS/normal-small" in table.output
    assert run("diff --check").exit_code == 1
    assert run("diff --check --ack-wait-s 7").output == "no differences\n"


def test_ack_wait_comes_from_the_environment_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATSUME_ACK_WAIT_S", "5")
    run("apply")
    assert run("diff --check").exit_code == 0
    assert run("diff --check --ack-wait-s 6").exit_code == 1


def test_show_has_a_row_for_each(run: Run) -> None:
    run("apply")
    rows = {row["entity"]: row for row in json.loads(run("show --json").output)}
    assert len(rows) == 21
    assert rows["TASKS/realtime-large"]["pending"] == 0
    table = run("show").output
    assert all(name in table for name in rows)


def test_what_does_not_fit_is_left_to_main_to_print(run: Run) -> None:
    refused = run("apply --expected-per-hour 100000000")
    assert isinstance(refused.exception, BrokerError)
    assert run("apply --replicas 0").exit_code == 2
