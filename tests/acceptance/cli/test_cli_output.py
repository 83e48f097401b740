"""What the inspection commands print of real tasks: tables for people, JSON for programs."""

import json
import re

import pytest


@pytest.fixture
def failed(natsume, online, start):
    """A dead letter, made by a worker; its token."""
    token = natsume("submit", "Fail", "--owner", "me", "--tenant", "lhcb", "--label", "run=7").out.strip()
    before = json.loads(natsume("tasks", "show", token, "--json").out)
    assert before["state"] == "ENQUEUED"
    assert (before["owner"], before["tenant"], before["lane"]) == ("me", "lhcb", "normal.small")
    worker = start("worker")
    worker.until(token)  # its warning comes before its commit
    ran = natsume("submit", "Echo", "--args", '["a", 3]', "--wait")
    assert ran.out.splitlines()[1] == '"aaa"'
    assert worker.stop() == 0
    return token


def test_a_failed_task_is_shown_whole(natsume, failed):
    shown = json.loads(natsume("tasks", "show", failed, "--json").out)
    assert list(shown)[:8] == ["id", "actor", "state", "lane", "owner", "tenant", "parent", "attempts"]
    assert (shown["id"], shown["actor"], shown["state"]) == (failed, "own:Fail", "FAILED")
    assert (shown["owner"], shown["tenant"], shown["attempts"]) == ("me", "lhcb", 1)
    assert shown["labels"] == {"run": "7"}
    assert shown["dead"] == "exhausted"
    (failure,) = shown["failures"]
    assert failure["error"] == "ValueError: boom"
    assert 'raise ValueError("boom")' in failure["traceback"]
    text = natsume("tasks", "show", failed).out
    assert re.search(rf"^id +{failed}$", text, re.MULTILINE)
    assert "ValueError: boom" in text


def test_dead_letters_are_listed_and_shown(natsume, failed):
    (row,) = json.loads(natsume("dead", "ls", "--json").out)
    assert list(row) == ["id", "actor", "reason", "error", "at", "attempts"]
    assert (row["id"], row["actor"], row["reason"]) == (failed, "own:Fail", "exhausted")
    assert json.loads(natsume("dead", "ls", "--actor", "Fail", "--reason", "exhausted", "--json").out) == [row]
    assert json.loads(natsume("dead", "ls", "--reason", "crashed", "--json").out) == []
    assert json.loads(natsume("dead", "ls", "--actor", "Echo", "--json").out) == []
    assert failed in natsume("dead", "ls").out
    whole = json.loads(natsume("dead", "show", failed, "--json").out)
    assert whole["subject"] == "task.normal.small.own.Fail"
    assert whole["body"] == "{}"
    assert f"ce-id: {failed}" in whole["headers"]
    assert "Traceback" in whole["traceback"]


def test_lanes_tell_what_waits(natsume, online, failed):
    natsume("submit", "Large")
    rows = {row["lane"]: row for row in json.loads(natsume("lanes", "--json").out)}
    assert len(rows) == 10
    large = rows["normal.large"]
    assert (large["pending"], large["in_flight"], large["waiting_pulls"]) == (1, 0, 0)
    assert large["actors"] == {"own:Large": 1}
    assert large["judgement"] == "no worker"
    assert large["oldest_s"] >= 0
    assert rows["normal.small"]["judgement"] == "ok"
    assert rows["effects"]["judgement"] == "no conductor"
    table = natsume("lanes").out
    assert all(lane in table for lane in rows)


def test_actors_are_listed(natsume):
    ran = natsume("actors", "ls", "--json")
    rows = {row["actor"]: row for row in json.loads(ran.out)}
    assert rows["own:Echo"]["arguments"] == ["text", "times"]
    assert rows["own:Large"]["lane"] == "normal.large"
    assert "own:Echo" in natsume("actors", "ls").out


def test_actors_are_checked(natsume, site):
    good = natsume("actors", "check")
    assert good.code == 0
    assert "are good" in good.out
    site.add("broken_actors", "import nowhere\n", "[natsume.tasks.broken]\nLost = broken_actors:Lost\n")
    bad = natsume("actors", "check", "--json")
    assert bad.code == 1
    (row,) = json.loads(bad.out)
    assert "broken:Lost" in row["problem"]
    assert "broken:Lost" in natsume("actors", "check").out
    assert "1 more cannot be used" in natsume("actors", "ls").err


def test_topology_is_applied_compared_and_shown(natsume, online):
    assert natsume("topology", "diff", "--check").code == 1
    created = json.loads(natsume("topology", "apply", "--json").out)
    assert {"entity": "TASKS", "action": "created", "fields": []} in created
    assert natsume("topology", "diff", "--check").code == 0
    assert len(json.loads(natsume("topology", "show", "--json").out)) == len(created)


def test_a_task_can_wait_for_its_time(natsume, online):
    token = natsume(
        "submit", "Echo", "--args", '["a"]', "--delay", "60", "--owner", "me", "--id", "later-1"
    ).out.strip()
    assert token == "later-1"
    assert json.loads(natsume("tasks", "show", token, "--json").out)["state"] in {"WAITING", "ENQUEUED"}
