"""The process that slots are forked from: it has the actors imported, and runs none of them.

It has no event loop and starts no thread. It adopts the orphans of its slots, so that none of their descendants can
hide; when its worker is gone, however that ended, it kills all of them and ends.
"""

import gc
import importlib
import os
import select
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from typing import Any, Final

import msgspec

from natsume import telemetry
from natsume.actors.registry import Registry, load_object_types
from natsume.slots import process
from natsume.slots.frames import Spec, receive
from natsume.slots.kernel import adopt_orphans, die_with_parent

COMMAND: Final = struct.Struct("!BI")
FORK: Final = 0
TERMINATE: Final = 1
KILL: Final = 2
"""What the worker orders, of which slot; a fork comes with the slot's end of its line."""

REPORT: Final = struct.Struct("!BIiidq")
READY: Final = 0
FORKED: Final = 1
ENDED: Final = 2
FAILED: Final = 3
"""What is reported: of which slot, its process, its wait status, seconds of processors, bytes at its peak."""


class Template:
    """Forks slots on order until its worker is gone."""

    def __init__(self, control: socket.socket, registry: Registry) -> None:
        self._control = control
        self._registry = registry
        self._wake, self._woken = socket.socketpair()
        self._slots: dict[int, int] = {}
        self._pid = os.getpid()

    def run(self) -> None:
        """Carry out orders, report ends."""
        for end in (self._wake, self._woken):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        adopt_orphans()
        gc.freeze()
        self._report(READY, 0, self._pid)
        while True:
            ready, _, _ = select.select([self._control, self._woken], [], [])
            if self._woken in ready:
                self._woken.recv(4096)
                self._reap()
            if self._control in ready and not self._obey():
                break
        signal.set_wakeup_fd(-1)
        for pid in self._slots:
            _kill_group(pid, signal.SIGKILL)
        _kill_children(set())

    def _obey(self) -> bool:
        """Carry out one order; False if nobody gives any more."""
        try:
            data, lines, _, _ = socket.recv_fds(self._control, COMMAND.size, 1)
        except OSError:
            return False
        if len(data) < COMMAND.size:
            return False
        what, number = COMMAND.unpack(data)
        if what == FORK:
            self._fork(number, lines[0])
        else:
            pid = next((pid for pid, slot in self._slots.items() if slot == number), None)
            if pid is not None:
                _kill_group(pid, signal.SIGKILL if what == KILL else signal.SIGTERM)
        return True

    def _fork(self, number: int, line: int) -> None:
        pid = os.fork()
        if pid:
            os.close(line)
            self._slots[pid] = number
            self._report(FORKED, number, pid)
            return
        code = 1
        try:
            self._become_slot(line)
            code = 0
        except BaseException:  # noqa: BLE001 - nothing of the template may go on in the child
            sys.excepthook(*sys.exc_info())
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _become_slot(self, line: int) -> None:
        os.setsid()
        die_with_parent(signal.SIGKILL)
        if os.getppid() != self._pid:
            return
        adopt_orphans()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (self._control, self._wake, self._woken):
            end.close()
        process.live(socket.socket(fileno=line), self._registry)

    def _reap(self) -> None:
        """Report each slot that has ended, once its group is dead; kill what it left elsewhere."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                break
            if ended.si_pid in self._slots:
                _kill_group(ended.si_pid, signal.SIGKILL)  # before its number can be another's
            _, status, usage = os.wait4(ended.si_pid, 0)
            number = self._slots.pop(ended.si_pid, None)
            if number is not None:
                used_s = usage.ru_utime + usage.ru_stime
                self._report(ENDED, number, ended.si_pid, status, used_s, usage.ru_maxrss * 1024)
        _kill_children(set(self._slots))

    def _report(self, what: int, number: int, pid: int, status: int = 0, used_s: float = 0.0, peak: int = 0) -> None:
        try:
            self._control.sendall(REPORT.pack(what, number, pid, status, used_s, peak))
        except OSError:
            return  # the next order is the end


def _nothing(_signal: int, _frame: Any) -> None:
    """Take no notice; unlike an ignored signal, programs that a task starts do not inherit this."""


def _kill_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def _kill_children(known: set[int]) -> None:
    """Kill the children that are no slots: they are orphans of slots that have ended."""
    import psutil  # noqa: PLC0415 - imported with the template

    for child in psutil.Process().children():
        if child.pid not in known:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue


def actors(spec: Spec) -> Registry:
    """The worker's actors, imported here."""
    sys.path[:] = spec.path
    load_object_types(spec.prefixes)
    return Registry.of_classes({name: _imported(path) for name, path in spec.actors.items()})


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def main() -> int:
    """Be the template of the worker at the other end of the descriptor that is given."""
    control = socket.socket(fileno=int(sys.argv[1]))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _nothing)
    spec = msgspec.json.decode(receive(control), type=Spec)
    if spec.log is not None:
        telemetry.configure(*spec.log)
    try:
        registry = actors(spec)
    except Exception as error:  # noqa: BLE001 - whatever an import raises
        sentence = f"{type(error).__name__}: {error}".encode()
        control.sendall(REPORT.pack(FAILED, 0, 0, 0, 0.0, len(sentence)) + sentence)
        return 1
    _warn_of_threads()
    Template(control, registry).run()
    return 0


def _warn_of_threads() -> None:
    others = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
    if others:
        import logging  # noqa: PLC0415

        logging.getLogger(__name__).warning(
            "importing the actors started threads (%s), which no slot has: start them in execute()", ", ".join(others)
        )


if __name__ == "__main__":
    sys.exit(main())
