"""Bad input ends in one clear line: no traceback, no secret and nothing sent."""

import pytest

BROKER = [
    ("submit", "Echo", "--args", '["a"]'),
    ("worker",),
    ("lanes",),
    ("topology", "diff"),
    ("tasks", "show", "x"),
    ("dead", "ls"),
    ("call", "Locked", "--args", '["1"]'),
]


def _is_one_clear_line(ran, code, *words):
    assert ran.code == code, ran
    assert ran.out == ""
    assert 1 <= len(ran.error_lines) <= 3, ran.err
    assert "Traceback" not in ran.err
    for word in words:
        assert word in ran.err, ran.err


@pytest.mark.parametrize("command", BROKER, ids=" ".join)
def test_no_broker(natsume, command):
    ran = natsume(*command)
    _is_one_clear_line(ran, 1, "no broker answers at 127.0.0.1:1", "natsume dev")


@pytest.mark.parametrize("url", ["http://broker", "nats://", "nats://host:port", "nats://host:99999"])
def test_wrong_url(natsume, url):
    _is_one_clear_line(natsume("lanes", "--nats-url", url), 1, "is no broker's URL")


@pytest.mark.parametrize("concurrency", ["0", "-5", "many", "1.5", "100000"])
def test_impossible_concurrency(natsume, concurrency):
    ran = natsume("worker", f"--concurrency={concurrency}")
    _is_one_clear_line(ran, 2, "--concurrency", "natsume worker --help")


def test_unknown_size(natsume):
    _is_one_clear_line(natsume("worker", "--size", "huge"), 2, "'huge'", "small", "medium", "large")


@pytest.mark.parametrize("command", ["submit", "call"])
@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("Echo", "--args", "["), 2, ["--args", "not JSON"]),
        (("Echo", "--args", '{"text": "a"}'), 2, ["--args", "a JSON list"]),
        (("Echo", "--kwargs", "[1]"), 2, ["--kwargs", "a JSON object"]),
        (("Echo", "--args", '["a", 1, 2]'), 1, ["text, times", "3"]),
        (("Echo",), 1, ["text"]),
        (("Echo", "--args", "[1]"), 1, ["own:Echo", "expected str", "text"]),
        (("Echo", "--args", '["a"]', "--kwargs", '{"text": "b"}'), 1, ["text twice"]),
        (("Echo", "--kwargs", '{"text": "a", "nope": 1}'), 1, ["unknown argument nope"]),
        (("own:Ecko",), 1, ["own:Ecko", "did you mean own:Echo"]),
        ((), 2, ["GROUP:Name"]),
    ],
)
def test_arguments_are_checked_before_anything_is_sent(natsume, command, options, code, words):
    _is_one_clear_line(natsume(command, *options), code, *words)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--at", "tomorrow"), 2, ["--at", "2026-"]),
        (("--at", "2030-01-01T00:00:00"), 1, ["time zone"]),
        (("--at", "2030-01-01T00:00:00Z", "--delay", "3"), 1, ["not both"]),
        (("--delay=-3",), 2, ["--delay", "at least 0"]),
        (("--delay", "nan"), 2, ["--delay"]),
        (("--label", "colour"), 2, ["--label", "key=value"]),
        (("--id", "with space"), 1, ["cannot be a task's id"]),
    ],
)
def test_wrong_options_of_submit(natsume, online, options, code, words):
    _is_one_clear_line(natsume("submit", "Echo", "--args", '["a"]', *options), code, *words)


def test_unreadable_credentials_name_the_file(natsume, tmp_path):
    _is_one_clear_line(natsume("lanes", "--credentials", str(tmp_path / "nope.creds")), 1, "nope.creds")


def test_a_password_is_never_shown(natsume):
    secret = "hunter2secret"
    for command in BROKER:
        for options in (("--user", "me", "--password", secret), ("--nats-url", f"nats://me:{secret}@127.0.0.1:1")):
            for debug in ((), ("--debug",)):
                ran = natsume(*command, *options, *debug)
                assert ran.code == 1
                assert secret not in ran.out + ran.err, ran
    assert secret not in natsume("worker", "--help", NATSUME_NATS_PASSWORD=secret).out


def test_a_wrong_variable_is_named(natsume):
    _is_one_clear_line(natsume("lanes", NATSUME_GRACE_S="soon"), 1, "NATSUME_GRACE_S", "'soon'")


def test_a_misspelt_command_is_corrected(natsume):
    _is_one_clear_line(natsume("workr"), 2, "Did you mean 'worker'")


def test_a_group_without_a_command_says_where_help_is(natsume):
    _is_one_clear_line(natsume("dead"), 2, "natsume dead --help")


def test_debug_shows_the_traceback(natsume):
    ran = natsume("lanes", "--debug")
    assert ran.code == 1
    assert "Traceback" in ran.err
    assert "no broker answers" in ran.error_lines[-1]


DATABASE = """
    from natsume import BaseTask
    from natsume.databases import BaseSQLDB

    class LedgerDB(BaseSQLDB): ...

    class Book(BaseTask):
        async def execute(self, db: LedgerDB): ...
"""


@pytest.mark.parametrize("command", [("worker",), ("call", "book:Book"), ("dev",)], ids=" ".join)
def test_a_missing_database_variable_is_named(natsume, online, site, command):
    site.add("book_actors", DATABASE, "[natsume.tasks.book]\nBook = book_actors:Book\n")
    _is_one_clear_line(natsume(*command), 1, "book:Book needs LedgerDB", "NATSUME_DB_URL_LEDGER_DB")


@pytest.mark.parametrize("command", ["worker", "dev"])
def test_a_broken_entry_point_is_named(natsume, online, site, command):
    site.add("broken_actors", "import nowhere\n", "[natsume.tasks.broken]\nLost = broken_actors:Lost\n")
    _is_one_clear_line(natsume(command), 1, "broken:Lost", "No module named 'nowhere'")


def test_many_problems_are_cut_to_three_lines(natsume, online, site):
    points = "\n".join(f"Lost{number} = nowhere_at_all:Lost" for number in range(9))
    site.add("many_actors", "", f"[natsume.tasks.many]\n{points}\n")
    _is_one_clear_line(natsume("worker"), 1, "and 7 more", "natsume actors check")


def test_one_name_twice_is_refused(natsume, online, site):
    site.add("twice", "from own_actors import Fail\n", "[other.tasks.own]\nEcho = twice:Fail\n")
    _is_one_clear_line(natsume("worker", NATSUME_ENTRY_POINT_PREFIXES="other"), 1, "own:Echo is defined twice")


@pytest.mark.parametrize("command", [("lanes",), ("tasks", "show", "x"), ("dead", "ls")], ids=" ".join)
def test_looking_creates_nothing(natsume, online, command):
    _is_one_clear_line(natsume(*command), 1, "natsume topology apply")
    assert natsume("topology", "diff", "--check").code == 1


def test_unknown_tasks_and_letters(natsume, online):
    natsume("topology", "apply")
    _is_one_clear_line(natsume("tasks", "show", "nope"), 1, "nothing is known of a task 'nope'")
    _is_one_clear_line(natsume("tasks", "show", "a.b"), 1, "nothing is known of a task 'a.b'")
    _is_one_clear_line(natsume("dead", "show", "nope"), 1, "no dead letter 'nope'")
