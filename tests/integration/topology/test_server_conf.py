"""The server accepts the configurations that we ship, and they say what their comments say."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from natsume.adapters.nats.embedded import find_binary
from natsume.adapters.nats.topology import files

CONFIGURATIONS = sorted(path.name for path in files().glob("*.conf"))


def accept(path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NATSUME_SYNC_INTERVAL": '"1s"'}
    command = [str(find_binary()), "-c", str(path), "-t"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def settings(path: Path, block: str = r"\A(?P<body>.*)\Z") -> dict[str, str]:
    found = re.search(block, path.read_text(), re.DOTALL)
    assert found, path
    lines = [line.strip() for line in found["body"].splitlines()]
    return dict(re.split(r":\s*", line, maxsplit=1) for line in lines if ":" in line and not line.startswith("#"))


def jetstream(name: str) -> dict[str, str]:
    return settings(files() / name, r"\njetstream \{\n(?P<body>.*?)\n\}")


def test_all_three_are_there() -> None:
    assert CONFIGURATIONS == ["embedded.conf", "server-always.conf", "server.conf"]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_server_accepts_it(name: str) -> None:
    done = accept(files() / name)
    assert done.returncode == 0, done.stderr


def test_the_two_profiles_differ_in_durability_alone() -> None:
    plain, always = jetstream("server.conf"), jetstream("server-always.conf")
    assert (plain.pop("sync_interval"), always.pop("sync_interval")) == ('"1s"', "always")
    assert plain == always
    assert "include ./server.conf" in (files() / "server-always.conf").read_text()


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_nobody_but_this_machine_gets_in(name: str) -> None:
    found = settings(files() / name)
    addresses = [found[key] for key in ("host", "listen", "http") if key in found]
    assert all(address.startswith("127.0.0.1") for address in addresses)
    assert addresses or "include" in (files() / name).read_text()


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_each_setting_says_why(name: str) -> None:
    """A comment stands above each setting, or above the group of settings it begins."""
    paragraphs = (files() / name).read_text().split("\n\n")
    for paragraph in paragraphs:
        assert "#" in paragraph, paragraph
