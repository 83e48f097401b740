"""The tutorial, done: its files, its commands and what they print."""

import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial" / "first-actor.md").read_text()
NATSUME = Path(sys.executable).with_name("natsume")
SHOWN = dict(re.findall(r"```console\n\$ (.*?)\n(.*?)```", PAGE, re.DOTALL))
READY_S = 30


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The files of the tutorial, and its project built and unpacked as an installation has it."""
    root = tmp_path_factory.mktemp("tutorial")
    for name, code in re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (root / name).write_text(code)
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=root, check=True, timeout=60)
    (wheel,) = (root / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(root / "installed")
    return root


@pytest.fixture(scope="module")
def environ(project):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NATSUME_")}
    return kept | {"PYTHONPATH": str(project / "installed")}


@pytest.fixture(scope="module")
def url(project, environ):
    """The broker of a running `natsume dev`."""
    (command,) = re.findall(r"```sh\nnatsume (dev .*?)\n```", PAGE)
    dev = subprocess.Popen([NATSUME, *command.split()], cwd=project, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + READY_S
        assert dev.stdout is not None
        assert select.select([dev.stdout], [], [], max(0, deadline - time.monotonic()))[0], "dev is not ready"
        said = dev.stdout.readline()
        (shown,) = re.findall(r"```\n(natsume dev is ready .*?)\n```", PAGE)
        port = re.search(r"127\.0\.0\.1:(\d+)", said)
        assert port is not None, said
        assert said.strip() == re.sub(r":4222", f":{port[1]}", shown)
        yield f"nats://{port[0]}"
    finally:
        dev.send_signal(signal.SIGINT)
        dev.communicate(timeout=30)


def test_the_files_are_all_there(project):
    assert {path.name for path in project.iterdir()} >= {"hello.py", "pyproject.toml", "ask.py", "test_hello.py"}


def test_a_task_runs_and_a_wrong_one_is_refused(project, environ, url):
    outputs = re.findall(r"```console\n\$ python ask.py nats://127.0.0.1:4222\n(.*?)\n```", PAGE, re.DOTALL)
    good, bad = outputs
    done = subprocess.run(
        [sys.executable, "ask.py", url], cwd=project, env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, good), done.stderr
    (call,) = re.findall(r"Change the call to `(.*?)`", PAGE)
    script = (project / "ask.py").read_text().replace('Greet("Ada", times=2)', call)
    refused = subprocess.run(
        [sys.executable, "-c", script, url], cwd=project, env=environ, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert refused.stderr.strip().splitlines()[-1] == bad


def test_the_test_passes(project, environ):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_hello.py"]
    done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, check=False)
    shown = SHOWN["python -m pytest -q"].strip()
    assert (done.returncode, done.stdout.splitlines()[0].split()) == (0, shown.split()), done.stdout + done.stderr


def test_a_shell_submits(project, environ, url):
    (line,) = re.findall(r"```sh\nnatsume (submit .*?)\n```", PAGE)
    arguments = shlex.split(line.replace("nats://127.0.0.1:4222", url))
    done = subprocess.run([NATSUME, *arguments], cwd=project, env=environ, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"[0-9a-f]{32}", done.stdout.strip())
