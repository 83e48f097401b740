"""A process that another one keeps: started again when it ends, and gone when its keeper is gone."""

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from natsume.core.restarting import pause_s
from natsume.exceptions import NatsumeError

_log = logging.getLogger(__name__)

_KILL_AFTER_S: Final = 5.0
_RECEIVE_MAX: Final = 64


class NeverReady(NatsumeError):
    """A process ended with this `code` before it was ever ready."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"{name} ended with exit code {code} before it was ready")
        self.code = code


class Member:
    """One `natsume` command as a process of its own."""

    def __init__(self, name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self._arguments = [sys.executable, "-m", "natsume.cli", *arguments]
        self._environ = dict(environ)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Its process, 0 before there was one."""
        return 0 if self._process is None else self._process.pid

    async def keep(self, *, patient: bool = False) -> None:
        """Run it until cancelled, again and again; unless `patient`, raises NeverReady if it was not ready once."""
        failed = 0
        while True:
            code, was_ready = await self._live()
            if not (patient or self.ready.is_set()):
                raise NeverReady(self.name, code)
            failed = 0 if was_ready else failed + 1
            _log.warning("%s ended with exit code %d; it starts again in %g s", self.name, code, pause_s(failed))
            await asyncio.sleep(pause_s(failed))

    def kill(self) -> None:
        """End it now."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def stop(self, grace_s: float) -> int:
        """Ask it to stop, and kill it if it does not within the grace period; its exit code, 0 if none runs."""
        process = self._process
        if process is None or process.returncode is not None:
            return 0
        process.terminate()
        try:
            async with asyncio.timeout(grace_s + _KILL_AFTER_S):
                await process.wait()
        except TimeoutError:
            _log.warning("%s did not stop within %g s and is killed", self.name, grace_s + _KILL_AFTER_S)
            process.kill()
        return await process.wait()

    async def _live(self) -> tuple[int, bool]:
        """Run it once; its exit code, and whether it was ready."""
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    *self._arguments,
                    "--parent-fd",
                    str(theirs.fileno()),
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is for the keeper, which then stops all in order
                )
            was_ready = bool(await asyncio.get_running_loop().sock_recv(ours, _RECEIVE_MAX))
            if was_ready:
                self.ready.set()
            return await self._process.wait(), was_ready
