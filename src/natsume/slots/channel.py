"""One end of the line between a worker and a slot process."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

from natsume.model import limits
from natsume.slots.frames import LENGTH, Bad, framed

_READ: Final = 64 * 1024


class Channel:
    """Frames over a socket; `take` gets each body, `gone` once when no more will come, and what was wrong with it."""

    def __init__(self, line: socket.socket, take: Callable[[bytes], None], gone: Callable[[str | None], None]) -> None:
        line.setblocking(False)
        self._line = line
        self._take = take
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._got = bytearray()
        self._unsent = bytearray()
        self._open = True
        self._loop.add_reader(line.fileno(), self.read)

    def send(self, frame: Any) -> None:
        """Send a frame, now or as soon as the other side reads; to one that is gone nothing is sent."""
        if not self._open:
            return
        data = framed(frame)
        if self._unsent:
            self._unsent += data
            return
        sent = self._try(data)
        if sent < len(data) and self._open:
            self._unsent += data[sent:]
            self._loop.add_writer(self._line.fileno(), self._write)

    def read(self) -> None:
        """Take what has come; does not wait."""
        while self._open:
            try:
                data = self._line.recv(_READ)
            except BlockingIOError:
                return None
            except OSError:
                data = b""
            if not data:
                return self._end(None)
            self._got += data
            try:
                self._frames()
            except Bad as error:
                return self._end(str(error))
            if len(data) < _READ:
                return None
        return None

    def close(self) -> None:
        """Close this end, and call nobody."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._line.fileno())
            self._loop.remove_writer(self._line.fileno())
            self._line.close()

    def _frames(self) -> None:
        while len(self._got) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._got)
            if length > limits.FRAME_MAX:
                raise Bad(f"it sent a frame of {length} bytes; at most {limits.FRAME_MAX} are read")
            end = LENGTH.size + length
            if len(self._got) < end:
                return
            body = bytes(self._got[LENGTH.size : end])
            del self._got[:end]
            self._take(body)

    def _try(self, data: bytes | bytearray) -> int:
        try:
            return self._line.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)  # the reader learns that it is gone

    def _write(self) -> None:
        del self._unsent[: self._try(self._unsent)]
        if not self._unsent:
            self._loop.remove_writer(self._line.fileno())

    def _end(self, why: str | None) -> None:
        self.close()
        self._gone(why)
