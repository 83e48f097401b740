"""What commands may not import, so that they start at once."""

import json
import subprocess
import sys

import pytest

from natsume.cli.main import COMMANDS

COSTLY = {"sqlalchemy", "pydantic", "rich", "structlog", "uvloop", "nats", "croniter", "psutil"}


def _imported(environ, *arguments):
    code = (
        "import sys, json; from natsume.cli.main import main;main(sys.argv[1:]); print(json.dumps(list(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environ, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(ran.stdout.splitlines()[-1])}


@pytest.mark.parametrize("arguments", ["--help", "--version", "worker --concurrency 0", "lanes --nats-url http://x"])
def test_nothing_costly_is_imported_for_nothing(environ, arguments):
    needed = {"nats"} if arguments.startswith("lanes") else set()
    assert _imported(environ, *arguments.split()) & COSTLY == needed


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"topology"}))
def test_help_loads_no_broker(environ, name):
    assert _imported(environ, name, "--help") & COSTLY == set()


def test_help_is_the_same_for_all(environ):
    for name in COMMANDS:
        ran = subprocess.run(
            [sys.executable, "-m", "natsume.cli", name, "--help"],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, name
        if "Commands:" not in ran.stdout:
            assert "--nats-url" in ran.stdout, name
