"""The tie between a process and the one that keeps it: tells that it is ready, notices that its keeper is gone."""

import os
import signal
import socket
import threading
import time
from typing import Final

PATIENCE_S: Final = 5.0
READY: Final = b"ready\n"


class Parent:
    """The child's end of a socket pair; its end of file means that the parent has ended, however it did."""

    def __init__(self, descriptor: int, patience_s: float = PATIENCE_S) -> None:
        """`patience_s` is how long it may take to stop when its keeper is gone."""
        self._patience_s = patience_s
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        threading.Thread(target=self._watch, name="natsume-parent", daemon=True).start()

    def ready(self) -> None:
        """Tell the parent that this process is ready."""
        self._socket.sendall(READY)

    def _watch(self) -> None:
        """Stop as on SIGTERM when the parent is gone, and at once if that does not help."""
        while self._socket.recv(64):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._patience_s)
        os._exit(1)
