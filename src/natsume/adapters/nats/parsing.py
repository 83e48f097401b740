"""Reads the broker's protocol: messages of our routes straight from what arrived, all else as nats-py does.

nats-py looks for each message by several regular expressions, copies it out of a buffer in parts and awaits what
becomes of it; the messages that come by the hundred thousand need none of that.
"""

from collections.abc import Callable

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

Take = Callable[[int, bytes, bytes, bytes, bytes | None], bool]
"""Takes a message's route, subject, reply, body and raw header block; False if there is no such route."""

_MESSAGES = (b"MSG", b"HMSG")


class WireParser(Parser):
    """The parser of one connection; what is split over two arrivals waits here for its rest."""

    def __init__(self, nc: object, take: Take) -> None:
        super().__init__(nc)
        self._take = take

    def reset(self) -> None:
        """Forget what waits for its rest."""
        super().reset()
        self._rest = b""

    async def parse(self, data: bytes = b"") -> None:
        """Deal with all that has arrived whole, in order; raises ProtocolError for what cannot be."""
        if self._rest:
            data = self._rest + data
        start = 0
        while (line_end := data.find(b"\r\n", start)) >= 0:
            words = data[start:line_end].split()
            stop = line_end + 2
            if words and words[0] in _MESSAGES:
                try:
                    stop += int(words[-1]) + 2
                    if stop > len(data):
                        break
                    taken = self._take(*_parts(words, data, line_end + 2, stop - 2))
                except (ValueError, IndexError):
                    raise ProtocolError("nats: malformed MSG") from None
                if taken:
                    start = stop
                    continue
            await super().parse(data[start:stop])
            start = stop
        self._rest = data[start:]


def _parts(words: list[bytes], data: bytes, start: int, stop: int) -> tuple[int, bytes, bytes, bytes, bytes | None]:
    """Route, subject, reply, body and headers of a message: `[H]MSG subject route [reply] [header size] size`."""
    if words[0] == b"MSG":
        reply = words[3] if len(words) > 4 else b""
        return int(words[2]), words[1], reply, data[start:stop], None
    reply = words[3] if len(words) > 5 else b""
    middle = start + int(words[-2])
    return int(words[2]), words[1], reply, data[middle:stop], data[start:middle]
