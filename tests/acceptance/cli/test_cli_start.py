"""How fast commands start, and what they may not import to be so."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from natsume.cli.main import COMMANDS

NATSUME = Path(sys.executable).parent / "natsume"

HELP_S = 1.5  # far above what the bench holds: here it only tells a hang or a heavy import
READY_S = 4.0
TRIES = 10
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


def _best(measure, enough_s):
    """The best of some tries: the machine may be busy."""
    best = measure()
    for _ in range(TRIES):
        if best <= enough_s:
            break
        best = min(best, measure())
    return best


def test_help_takes_no_time(environ):
    def measure():
        began = time.monotonic()
        subprocess.run([NATSUME, "--help"], env=environ, capture_output=True, check=True)
        return time.monotonic() - began

    assert _best(measure, HELP_S) <= HELP_S


def test_a_worker_is_soon_ready(start, online):
    def measure():
        began = time.monotonic()
        worker = start("worker")
        worker.until("worker ready")
        took = time.monotonic() - began
        worker.stop()
        return took

    assert _best(measure, READY_S) <= READY_S


def test_help_is_the_same_for_all(environ):
    for name in COMMANDS:
        ran = subprocess.run([NATSUME, name, "--help"], env=environ, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, name
        if "Commands:" not in ran.stdout:
            assert "--nats-url" in ran.stdout, name
