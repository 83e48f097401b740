"""`natsume tasks ls` lists by filters, newest first; `show` also tells what the broker has forgotten."""

import json

import pytest

from natsume.testing import until


@pytest.fixture
async def tasks(natsume, online, start):
    """Two tasks that ended, of two owners, and one that waits, all in the ledger."""
    running = [start("worker"), start("conductor")]
    submits = (
        ["Echo", "--args", '["a", 1]', "--owner", "ada"],
        ["Fail", "--owner", "bob"],
        ["Echo", "--args", '["b", 1]', "--owner", "ada", "--delay", "3600"],
    )
    tokens = [natsume("submit", *arguments).out.strip() for arguments in submits]
    for token in tokens[:2]:
        natsume("tasks", "await", token, "--timeout", "20")
    await until(lambda: len(json.loads(natsume("tasks", "ls", "--json").out or "[]")), lambda count: count == 3)
    yield tokens
    assert [process.stop() for process in running] == [0, 0]


async def test_lists_are_filtered_by_options(natsume, tasks):
    def listed(*options: str) -> list[str]:
        return [row["id"] for row in json.loads(natsume("tasks", "ls", "--json", *options).out)]

    echoed, failed, waiting = tasks
    assert listed() == tasks[::-1]
    assert listed("--limit", "1") == [waiting]
    assert listed("--owner", "a*") == [waiting, echoed]
    assert listed("--owner", "ada", "--state", "COMPLETED", "--state", "FAILED") == [echoed]
    assert listed("--actor", "*:Fail", "--reason", "exhausted", "--after", "1h") == [failed]
    assert listed("--finished-before", "1h") == []
    assert listed("--not-consumed", "--no-cancel-requested", "--id", waiting) == [waiting]
    assert listed("--tenant", "") == tasks[::-1]
    assert listed("--label", "a=b") == []


async def test_the_keys_that_others_rely_on_and_a_table(natsume, tasks):
    (row, *_) = json.loads(natsume("tasks", "ls", "--json").out)
    promised = ["id", "actor", "state", "lane", "owner", "tenant", "parent", "attempts"]
    assert list(row)[: len(promised)] == promised
    assert (row["state"], row["owner"], row["lane"]) == ("WAITING", "ada", "normal.small")
    table = natsume("tasks", "ls", "--limit", "2")
    assert all(token in table.out for token in tasks[1:])
    assert "and more" in table.err
    assert natsume("tasks", "ls", "--state", "DROPPED").out == "there are no such tasks\n"


def test_what_is_refused_in_one_line(natsume, online):
    for options, said in (
        (("--label", "x"), "name=value"),
        (("--after", "soon"), "neither a time"),
        (("--state", "GONE"), "'GONE' is not one of"),
        (("--id", "x" * 1025), "1025 characters"),
    ):
        ran = natsume("tasks", "ls", *options)
        assert (ran.code != 0, len(ran.error_lines), said in ran.err) == (True, 1, True)
    assert "there is no ledger here" in natsume("tasks", "ls").err
