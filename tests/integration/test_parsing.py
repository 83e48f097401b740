"""What arrives is the same messages wherever it is split, and what is not ours is left to nats-py."""

import pytest
from nats.errors import ProtocolError

from natsume.adapters.nats.parsing import WireParser

ARRIVED = (
    b"MSG a.b 1 5\r\nhello\r\n"
    b"PING\r\n"
    b"MSG a.b 1 reply.to 4\r\n\r\n\r\n\r\n"
    b"MSG other 9 2\r\nno\r\n"
    b"HMSG a.c 2 12 12\r\nNATS/1.0\r\n\r\n\r\n"
    b"HMSG a.c 2 reply.to 18 21\r\nNATS/1.0\r\nA: b\r\n\r\nxyz\r\n"
    b"MSG a.b 1 0\r\n\r\n"
    b"PONG\r\n"
)
TAKEN = [
    (1, b"a.b", b"", b"hello", None),
    "ping",
    (1, b"a.b", b"reply.to", b"\r\n\r\n", None),
    (9, b"other", b"", b"no", None),
    (2, b"a.c", b"", b"", b"NATS/1.0\r\n\r\n"),
    (2, b"a.c", b"reply.to", b"xyz", b"NATS/1.0\r\nA: b\r\n\r\n"),
    (1, b"a.b", b"", b"", None),
    "pong",
]


class Connection:
    """Notes what its parser makes of what arrives; routes 1 and 2 are ours."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.left = 0
        self.parser = WireParser(self, self.take)

    def take(self, sid: int, *message: object) -> bool:
        if sid in {1, 2}:
            self.seen.append((sid, *message))
        return sid in {1, 2}

    async def _process_msg(self, *message: object) -> None:
        self.left += 1
        self.seen.append(message)

    async def _process_ping(self) -> None:
        self.seen.append("ping")

    async def _process_pong(self) -> None:
        self.seen.append("pong")


@pytest.mark.parametrize("step", [1, 2, 3, 7, 40, len(ARRIVED)])
async def test_messages_are_the_same_wherever_they_are_split(step: int) -> None:
    connection = Connection()
    for start in range(0, len(ARRIVED), step):
        await connection.parser.parse(ARRIVED[start : start + step])
    assert connection.seen == TAKEN
    assert connection.left == 1


async def test_a_new_connection_begins_with_nothing() -> None:
    connection = Connection()
    await connection.parser.parse(b"MSG a.b 1 5\r\nhel")
    connection.parser.reset()
    await connection.parser.parse(ARRIVED)
    assert connection.seen == TAKEN


@pytest.mark.parametrize("line", [b"MSG\r\n", b"MSG a.b 1 many\r\n", b"HMSG a.b x 12 12\r\n" + b"_" * 14, b"WHAT\r\n"])
async def test_what_is_no_protocol_ends_the_connection(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        await Connection().parser.parse(line)
