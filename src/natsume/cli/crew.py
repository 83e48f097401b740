"""A process that `natsume dev` keeps: started again when it ends, and gone when dev is gone."""

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from natsume.exceptions import NatsumeError

_log = logging.getLogger(__name__)

_PAUSE_FIRST_S: Final = 0.5
_PAUSE_LAST_S: Final = 30.0
_STEADY_S: Final = 10.0
_KILL_AFTER_S: Final = 5.0
_RECEIVE_MAX: Final = 64


class Member:
    """One `natsume` command as a process of its own."""

    def __init__(self, name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self._arguments = [sys.executable, "-m", "natsume.cli", *arguments]
        self._environ = dict(environ)
        self._process: asyncio.subprocess.Process | None = None

    async def keep(self) -> None:
        """Run it until cancelled, again and again; raises NatsumeError if it ends before it was ever ready."""
        pause_s = _PAUSE_FIRST_S
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            code = await self._live()
            if not self.ready.is_set():
                raise NatsumeError(f"{self.name} ended with exit code {code} before it was ready")
            pause_s = _PAUSE_FIRST_S if loop.time() - began > _STEADY_S else min(2 * pause_s, _PAUSE_LAST_S)
            _log.warning("%s ended with exit code %d; it starts again in %g s", self.name, code, pause_s)
            await asyncio.sleep(pause_s)

    async def stop(self, grace_s: float) -> None:
        """Ask it to stop, and kill it if it does not within the grace period."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(grace_s + _KILL_AFTER_S):
                await process.wait()
        except TimeoutError:
            _log.warning("%s did not stop within %g s and is killed", self.name, grace_s + _KILL_AFTER_S)
            process.kill()
            await process.wait()

    async def _live(self) -> int:
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
                    start_new_session=True,  # Ctrl-C is for dev, which then stops all in order
                )
            if await asyncio.get_running_loop().sock_recv(ours, _RECEIVE_MAX):
                self.ready.set()
            return await self._process.wait()
