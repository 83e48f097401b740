"""`natsume tasks cancel`, `await`, `comment` and `show --follow`."""

import json

import pytest

CODES = {"Echo": 0, "Fail": 3}


@pytest.fixture
def waiting(natsume, online):
    """A task that is due in an hour."""
    return natsume("submit", "Echo", "--args", '["a", 1]', "--delay", "3600").out.strip()


def test_what_waits_is_cancelled_and_says_by_whom(natsume, waiting):
    assert natsume("tasks", "comment", waiting, "look at this").code == 0
    assert natsume("tasks", "cancel", waiting, "--why", "too late").out == "cancelled\n"
    assert "nothing changed; it is CANCELLED" in natsume("tasks", "cancel", waiting).out
    shown = json.loads(natsume("tasks", "show", waiting, "--json").out)
    assert (shown["state"], shown["cancel"]["why"]) == ("CANCELLED", "too late")
    assert shown["comments"][0].endswith(": look at this")
    assert shown["failures"][0]["error"].endswith(": too late")
    ended = natsume("tasks", "await", waiting)
    assert (ended.code, ended.err) == (4, "")
    assert "CANCELLED" in ended.out


def test_what_is_ready_is_flagged_and_ends_where_it_is_opened(natsume, online, start):
    token = natsume("submit", "Echo", "--args", '["a", 1]', "--owner", "me").out.strip()
    flagged = json.loads(natsume("tasks", "cancel", token, "--json").out)
    assert flagged == {"id": token, "flagged": True, "state": "ENQUEUED"}
    worker = start("worker")
    assert natsume("tasks", "await", token, "--timeout", "20").code == 4
    assert worker.stop() == 0


@pytest.mark.parametrize("actor", CODES)
def test_the_exit_code_tells_the_end_and_each_change_is_a_line(natsume, online, start, actor):
    arguments = ("--args", '["a", 3]') if actor == "Echo" else ()
    token = natsume("submit", actor, *arguments, "--owner", "me").out.strip()
    following = start("tasks", "show", token, "--follow", "--json")
    following.until("ENQUEUED")
    worker = start("worker")
    assert natsume("tasks", "await", token, "--timeout", "20").code == CODES[actor]
    assert following.wait() == 0
    assert json.loads(natsume("tasks", "await", token, "--json").out)["id"] == token
    assert worker.stop() == 0


@pytest.mark.parametrize(
    "arguments", [("cancel", "nobody"), ("comment", "nobody", "x"), ("show", "nobody", "--follow"), ("cancel", "a b")]
)
def test_what_nobody_knows_is_one_line(natsume, online, arguments):
    ran = natsume("tasks", *arguments)
    assert (ran.code, len(ran.error_lines)) == (1, 1)


def test_who_waits_in_vain_is_told(natsume, waiting):
    ran = natsume("tasks", "await", waiting, "--timeout", "0.1")
    assert (ran.code, ran.error_lines) == (1, [f"natsume: task {waiting} has not ended within 0.1 s"])
