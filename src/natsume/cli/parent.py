"""The tie between `natsume dev` and a process of its own: tells that it is ready, notices that dev is gone."""

import os
import signal
import socket
import threading
import time
from typing import Final

_PATIENCE_S: Final = 5.0
READY: Final = b"ready\n"


class Parent:
    """The child's end of a socket pair; its end of file means that the parent has ended, however it did."""

    def __init__(self, descriptor: int) -> None:
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
        time.sleep(_PATIENCE_S)
        os._exit(1)
