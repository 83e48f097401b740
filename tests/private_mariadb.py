"""A private MariaDB: its own directory, socket and port on loopback, from Debian's mariadb-server."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

WITHIN_S = 60.0


def installed() -> bool:
    """Whether this machine has what it takes."""
    return bool(_program("mariadbd") and _program("mariadb-install-db"))


class Mariadb:
    """A server that may be killed, stopped in its tracks and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir()
        # The quick test of a test: no power is cut here.
        install = [_program("mariadb-install-db"), "--no-defaults", f"--user={getpass.getuser()}"]
        install += [f"--datadir={folder / 'data'}", "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(install, check=True, capture_output=True)
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def url(self, database: str) -> str:
        """The URL of a database, which is made if it is not there."""
        client = [_program("mariadb"), "--no-defaults", f"--socket={self._socket}", "-u", "root"]
        subprocess.run([*client, "-e", f"CREATE DATABASE IF NOT EXISTS {database}"], check=True, capture_output=True)
        return f"mysql+asyncmy://root@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, and return once it answers."""
        command = [_program("mariadbd"), "--no-defaults", f"--user={getpass.getuser()}"]
        command += [f"--datadir={self.folder / 'data'}", f"--socket={self._socket}", f"--port={self.port}"]
        # Another server that starts would remove temporary tables from a directory that both use.
        (self.folder / "tmp").mkdir(exist_ok=True)
        command += [f"--tmpdir={self.folder / 'tmp'}"]
        command += ["--bind-address=127.0.0.1", "--skip-log-bin", f"--pid-file={self.folder / 'pid'}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + WITHIN_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "MariaDB did not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    @property
    def _socket(self) -> Path:
        return self.folder / "s"

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _program(name: str) -> str:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") or ""
