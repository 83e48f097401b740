"""`natsume worker --processes N`: keeps N workers, each a process of its own, until it is told to stop.

The first starts alone, so that what is wrong with all of them is said once. A worker whose supervisor is gone, however
that ended, finishes what runs and ends.
"""

import asyncio
import logging
import os
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from natsume.cli.crew import Member, NeverReady
from natsume.cli.session import Session
from natsume.cli.signals import INTERRUPTED, stop_on_signals
from natsume.ending import end
from natsume.enums import Size

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Crew:
    """Which workers to keep; `options` are those of `natsume worker` that were given."""

    session: Session
    size: Size
    processes: int
    options: Mapping[str, object]

    def members(self) -> list[Member]:
        """The workers, none of which runs yet."""
        arguments = ["worker", "--size", self.size.value, "--processes", "1"]
        arguments += ["--log-format", self.session.log_format, "--log-level", self.session.log_level]
        for name, value in self.options.items():
            arguments += [] if value is None else [f"--{name}", str(value)]
        if self.session.debug:
            arguments.append("--debug")
        environ = os.environ | self.session.settings.reaching()
        return [Member(f"worker {number}", arguments, environ) for number in range(1, self.processes + 1)]


def supervise(crew: Crew, grace_s: float) -> int:
    """Keep the workers until SIGTERM or Ctrl-C; a second signal kills what still runs.

    The exit code: 0 if all ended well, 1 if one did not, 130 after a second signal, and what the first worker
    ended with if that was never ready.
    """
    return asyncio.run(_supervise(crew, grace_s))


async def _supervise(crew: Crew, grace_s: float) -> int:
    members, hurried = crew.members(), False

    def hurry() -> None:
        nonlocal hurried
        hurried = True
        for member in members:
            member.kill()

    stopped = asyncio.create_task(stop_on_signals(hurry).wait())
    keepers = [asyncio.create_task(keep) for keep in _keeping(members)]
    telling = asyncio.create_task(_tell(crew, members))
    ended, _ = await asyncio.wait([stopped, *keepers], return_when=asyncio.FIRST_COMPLETED)
    await end(stopped, telling, *keepers)
    try:
        for failed in ended - {stopped}:
            await failed
    except NeverReady as error:  # what it has against its configuration it has said itself
        return error.code if error.code > 0 else 1
    _log.info("supervisor stopping: %d workers finish what runs within %g s", len(members), grace_s)
    codes = await asyncio.gather(*(member.stop(grace_s) for member in members))
    _log.info("supervisor stopped")
    return INTERRUPTED if hurried else int(any(codes))


def _keeping(members: list[Member]) -> list[Coroutine[Any, Any, None]]:
    """What keeps each until cancelled; that of the first raises NeverReady if it cannot even start."""
    first, *others = members

    async def follow(member: Member) -> None:
        await first.ready.wait()
        await member.keep(patient=True)

    return [first.keep(), *map(follow, others)]


async def _tell(crew: Crew, members: list[Member]) -> None:
    for member in members:
        await member.ready.wait()
    facts = {"size": crew.size.value, "processes": crew.processes, "pids": [member.pid for member in members]}
    _log.info("workers ready", extra=facts)
