"""`natsume tasks ls` lists by filters, newest first; `show` also tells what the broker has forgotten."""

import json
from inspect import signature
from itertools import cycle

import pytest

from natsume.cli.listing import list_tasks
from natsume.model.ledger import Filter
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
    assert listed("--heartbeat-after", "1h", "--started-after", "1h") == [failed, echoed]
    assert listed("--heartbeat-before", "1h") == []
    assert listed("--not-consumed", "--no-cancel-requested", "--id", waiting) == [waiting]
    assert listed("--tenant", "") == tasks[::-1]
    assert listed("--label", "a=b") == []


async def test_an_actor_is_named_as_elsewhere_and_one_that_is_none_is_told(natsume, tasks, site):
    def listed(*options: str):
        ran = natsume("tasks", "ls", "--json", *options)
        return ran.code, [row["id"] for row in json.loads(ran.out or "null") or []], ran.err

    _, failed, _ = tasks
    assert listed("--actor", "Fail") == listed("--actor", "own:Fail") == (0, [failed], "")
    for name in ("Fial", "own:Fial"):
        code, found, said = listed("--actor", name)
        assert (code, found) == (0, [])
        assert f"no actor is called '{name}': did you mean own:Fail" in said
    assert listed("--actor", "Large") == (0, [], "")
    site.add("other_actors", "from own_actors import Echo", "[natsume.tasks.other]\nEcho = other_actors:Echo\n")
    code, _, said = listed("--actor", "Echo")
    assert (code, "other:Echo or own:Echo" in said or "own:Echo or other:Echo" in said) == (1, True)
    # An actor that is gone has left its tasks.
    points = site.root / "own_actors-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().replace("Fail = own_actors:Fail", ""))
    assert listed("--actor", "Fail") == listed("--actor", "own:Fail") == (0, [failed], "")


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


def test_each_field_of_the_filter_has_an_option():
    options = set(signature(list_tasks).parameters) - {"context", "limit", "as_json"}
    short = {"ids": "token", "enqueued_after": "after", "enqueued_before": "before"}
    fields = {short.get(name, name) for name in Filter.__struct_fields__}
    assert {name if name in options else name.removesuffix("s") for name in fields} == options


async def test_no_option_is_more_than_a_value(natsume, tasks):
    options = ("owner", "tenant", "worker", "id", "actor", "parent", "root", "join", "reason")
    hostile = ("' OR '1'='1", "ada' --", "%", "_da", 'ada"; DROP TABLE tasks; --')
    for option, value in zip(options, cycle(hostile), strict=False):
        assert natsume("tasks", "ls", f"--{option}", value).out == "there are no such tasks\n"
