"""`natsume schedules` on a real broker: what it lists, pauses, triggers and makes up."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from natsume.actors.registry import Registry
from natsume.cli.main import main

from . import actors

NAME = "t:Hourly/default"


@pytest.fixture
def command(natsume_server, monkeypatch, capsys):
    """Runs a command line; gives its JSON, or the lines of its error."""
    classes = {"t:Hourly": actors.Hourly, "t:PerVo": actors.PerVo, "t:Plain": actors.Plain}
    monkeypatch.setattr(Registry, "load", classmethod(lambda cls, prefixes=(): cls.of_classes(classes)))

    def run(*arguments, code=0):
        assert main([*arguments, "--nats-url", natsume_server.url]) == code
        told = capsys.readouterr()
        return json.loads(told.out) if "--json" in arguments else told.err or told.out

    run("topology", "apply")
    return run


def test_what_is_listed_paused_and_resumed(command):
    before = datetime.now(UTC)
    (row,) = command("schedules", "ls", "--json")
    assert (row["name"], row["state"], row["last"], row["next"]) == (NAME, "waits for a conductor", None, None)
    assert command("schedules", "sync", "--json") == [{"action": "armed", "name": NAME}]
    assert command("schedules", "sync", "--json") == []
    (row,) = command("schedules", "ls", "--json")
    assert row["state"] == "armed"
    assert before < datetime.fromisoformat(row["next"]) <= before + timedelta(hours=1, seconds=5)
    assert command("schedules", "pause", "t:Hourly", "--json") == [{"name": NAME, "state": "paused"}]
    assert command("schedules", "sync", "--json") == []
    shown = command("schedules", "show", NAME, "--json")
    assert (shown["state"], shown["next"], len(shown["upcoming"])) == ("paused", None, 5)
    assert shown["paused_by"]
    assert command("schedules", "resume", NAME, "--json") == [{"name": NAME, "state": "armed"}]
    assert "every 3600" in command("schedules", "ls")


def test_trigger_and_backfill_submit_tasks(command):
    command("schedules", "sync")
    (row,) = command("schedules", "trigger", NAME, "--json")
    assert row["id"].startswith("Hourly-")
    first = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    (made,) = command("schedules", "backfill", NAME, "--from", first, "--json")
    assert (made["due"], made["submitted"]) == (2, 2)
    lanes = command("lanes", "--json")
    assert sum(lane.get("ready", lane.get("pending", 0)) or 0 for lane in lanes) == 3


def test_tasks_file_and_prune(command, tmp_path, monkeypatch):
    file = tmp_path / "tasks.yaml"
    file.write_text("vos: [a]\ncommon: {t:Plain: {schedules: {noon: {cron: '0 12 * * *', args: {text: hi}}}}}\n")
    command("config", "apply", str(file))
    assert [row["name"] for row in command("schedules", "sync", "--json")] == [
        NAME,
        "t:PerVo/default/a",
        "t:Plain/noon",
    ]
    assert command("schedules", "show", "t:Plain", "--json")["args"] == {"text": "hi"}
    monkeypatch.setattr(Registry, "load", classmethod(lambda cls, prefixes=(): cls()))
    assert command("schedules", "sync", "--json") == []
    assert len(command("schedules", "ls", "--json")) == 3
    removed = command("schedules", "sync", "--prune", "--json")
    assert [row["action"] for row in removed] == ["removed"] * 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("pause", "t:Nobody"), "no schedule is called 't:Nobody'"),
        (("backfill", NAME, "--from", "yesterday"), "'yesterday' is no time"),
        (("backfill", NAME, "--from", "2000-01-01"), "more than 10000 times"),
        (("backfill", NAME, "--from", "2999-01-01"), "no past time between"),
        (("backfill", NAME, "--from", "2026-01-02", "--to", "2026-01-01"), "no past time between"),
    ],
)
def test_a_wrong_use_is_one_line(command, arguments, sentence):
    told = command("schedules", *arguments, code=1)
    assert sentence in told
    assert told.count("\n") == 1
