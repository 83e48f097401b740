"""Where a worker gets its slots: it starts the template, has slots forked, and learns how they end."""

import asyncio
import itertools
import logging
import os
import socket
import subprocess
import sys
from functools import partial
from typing import Final

import msgspec

from natsume import telemetry
from natsume.actors.registry import Registry
from natsume.exceptions import NatsumeError, UsageError
from natsume.slots import template
from natsume.slots.cgroups import Cgroup, Cgroups
from natsume.slots.frames import LENGTH, Spec
from natsume.slots.shortages import Shortages
from natsume.slots.slot import Slot

_log = logging.getLogger(__name__)

_FORKS_MAX: Final = 32
_START_S: Final = 60.0
_END_S: Final = 5.0
_PAUSE_S: Final = 0.5


def spec_of(registry: Registry, prefixes: tuple[str, ...]) -> Spec:
    """What a process must know to have these actors; UsageError for one that cannot be imported."""
    found = {}
    for actor in registry.actors:
        cls = actor.cls
        if "<locals>" in cls.__qualname__:
            raise UsageError(
                f"{actor.name} is defined inside a function, {cls.__qualname__}: a process of its own cannot import"
                " it; move it to the top of its module"
            )
        found[actor.name] = f"{cls.__module__}:{cls.__qualname__}"
    return Spec(list(sys.path), prefixes, found, telemetry.configured())


class Nursery:
    """The slots of one worker; a template that ended is started anew when the next slot is needed."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._got = bytearray()
        self._turn = asyncio.Lock()
        self._forks = asyncio.Semaphore(_FORKS_MAX)
        self._ready: asyncio.Future[None] | None = None
        self.slots: dict[int, Slot] = {}
        self.shortages = Shortages()
        self._cgroups = Cgroups.found()
        _log.info("memory limits are kept by %s", "control groups" if self._cgroups else "rlimits and by looking")

    async def open(self) -> None:
        """Start the template; raises UsageError where the actors cannot be imported there."""
        async with self._turn:
            if self._control is None:
                await self._start()

    async def slot(self) -> Slot:
        """A fresh process; one that is gone again where the template has ended."""
        while self._control is None:
            try:
                await self.open()
            except NatsumeError as error:
                _log.error("no slot can be started: %s", error)
                await asyncio.sleep(_PAUSE_S)
        number = next(self._numbers)
        ours, theirs = socket.socketpair()
        terminate, kill = (partial(self._order, what, number) for what in (template.TERMINATE, template.KILL))
        slot = self.slots[number] = Slot(number, ours, terminate, kill, self.shortages)
        async with self._forks:  # so that orders and reports never fill both ways at once
            with theirs:
                self._order(template.FORK, number, theirs)
            if self._control is None and self.slots.pop(number, None) is not None:
                slot.ended(None, 0.0, 0)
            await slot.placed.wait()
        return slot

    async def close(self) -> None:
        """Kill all slots that are left, and the template with them."""
        process, slots = self._process, list(self.slots.values())
        self._end()
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, _END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
        await asyncio.gather(*(slot.gone.wait() for slot in slots))

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - a program of ours; it returns when that has begun
                [sys.executable, "-m", template.__name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the worker, which ends it in its turn
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, self._spec.path))},
            )
        loop = asyncio.get_running_loop()
        body = msgspec.json.encode(self._spec)
        ours.sendall(LENGTH.pack(len(body)) + body)
        ours.setblocking(False)
        self._control, self._ready = ours, loop.create_future()
        self._got.clear()
        loop.add_reader(ours.fileno(), self._read)
        try:
            async with asyncio.timeout(_START_S):
                await self._ready
        except BaseException:
            self._process.kill()
            self._end()
            raise

    def _order(self, what: int, number: int, line: socket.socket | None = None) -> None:
        if self._control is None:
            return
        data = template.COMMAND.pack(what, number)
        try:
            if line is None:
                self._control.sendall(data)
            else:
                socket.send_fds(self._control, [data], [line.fileno()])
        except OSError:
            self._end()

    def _read(self) -> None:
        assert self._control is not None
        try:
            data = self._control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._got += data
        size = template.REPORT.size
        while len(self._got) >= size:
            report = template.REPORT.unpack_from(self._got)
            if report[0] == template.FAILED:
                break
            del self._got[:size]
            self._reported(*report)
        if not data:
            self._end()

    def _reported(self, what: int, number: int, pid: int, status: int, cpu_s: float, peak: int) -> None:
        if what == template.READY:
            assert self._ready is not None
            self._ready.set_result(None)
        elif what == template.FORKED and number in self.slots:
            self.slots[number].forked(pid, self._cgroup(number, pid))
        elif what == template.ENDED and number in self.slots:
            self.slots.pop(number).ended(status, cpu_s, peak)

    def _cgroup(self, number: int, pid: int) -> Cgroup | None:
        if self._cgroups is None:
            return None
        try:
            group = self._cgroups.of(number)
        except OSError as error:
            _log.warning("slot %d has no control group: %s", number, error)
            return None
        group.take(pid)
        return group

    def _end(self) -> None:
        """The template is gone, or is to go; so are its slots."""
        if self._control is None:
            return
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        self._control = None
        if self._ready is not None and not self._ready.done():
            why = bytes(self._got[template.REPORT.size :]).decode("utf-8", "replace") or "it ended before it was ready"
            self._ready.set_exception(UsageError(f"the actors cannot be imported by a process of its own: {why}"))
        slots, self.slots = list(self.slots.values()), {}
        for slot in slots:
            slot.ended(None, 0.0, 0)
