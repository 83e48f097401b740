"""What a worker and its slot processes say to each other: JSON with its length before it, bounded and checked."""

import socket
import struct
from collections.abc import Callable
from typing import Any, Final

import msgspec

from natsume.core import events as ev
from natsume.exceptions import NatsumeError
from natsume.model import limits
from natsume.model.config import RetriesConfig
from natsume.model.lock import Want
from natsume.model.record import Chunk
from natsume.model.subject import Lane, parse_lane
from natsume.model.task import Task
from natsume.model.told import Flag, Progress
from natsume.runtime.execute import Ended

LENGTH: Final = struct.Struct("!I")


class Bad(NatsumeError):
    """What came over a channel is no frame."""


class Spec(msgspec.Struct, frozen=True):
    """What the processes must know to have the worker's actors: where they are imported from, how to log."""

    path: list[str]
    prefixes: tuple[str, ...]
    actors: dict[str, str]
    log: tuple[str, str] | None = None


class Limits(msgspec.Struct, frozen=True):
    """What one try of a task may take."""

    timeout_s: float
    cpu_limit_s: float | None = None
    memory_limit_mb: float | None = None

    @property
    def watched(self) -> bool:
        """Whether somebody has to look how much it takes."""
        return self.cpu_limit_s is not None or self.memory_limit_mb is not None


class Start(msgspec.Struct, frozen=True, tag=True):
    """Run a task. `ahead_s` is how much the broker's clock is before this machine's, `tokens` those of held locks."""

    task: Task
    nonce: str
    worker: str
    limits: Limits
    ahead_s: float
    tokens: dict[str, int] = {}
    retries: RetriesConfig | None = None
    flag: Flag | None = None
    stopping: bool = False


class Heed(msgspec.Struct, frozen=True, tag=True):
    """Tell the task that it is to be cancelled, or that its worker stops."""

    flag: Flag | None
    stopping: bool


class Interrupt(msgspec.Struct, frozen=True, tag=True):
    """Cancel the task."""

    cause: str


class Answer(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """What came of a request: a value, or the error of this kind."""

    number: int
    value: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None
    sentence: str = ""
    code: int = 0


class Close(msgspec.Struct, frozen=True, tag=True):
    """End, for no further task comes."""


class Begun(msgspec.Struct, frozen=True, tag=True):
    """The task runs from here on; `cpu_s` is what the process had used before it."""

    cpu_s: float


class Over(msgspec.Struct, frozen=True, tag=True):
    """The task of a run has ended, with an event of this kind; `resident` are the bytes that the process now has.

    `spoiled` says that something of the task is left in the process.
    """

    nonce: str
    kind: str
    event: msgspec.Raw
    resident: int
    spoiled: bool


class Said(msgspec.Struct, frozen=True, tag=True):
    """How far the task is."""

    progress: Progress


class Request(msgspec.Struct, frozen=True):
    """What the worker does for the task and answers under its number."""

    number: int


class Submit(Request, frozen=True, tag=True):
    """Submit a child now."""

    task: Task
    due: float | None


class WriteChunk(Request, frozen=True, tag=True):
    """Write children before the commit."""

    count: int
    chunk: Chunk


class Hold(Request, frozen=True, tag=True):
    """Take a lock; the answer is its fencing token."""

    want: Want
    wait_s: float


class GiveBack(Request, frozen=True, tag=True):
    """Give a lock back."""

    want: Want


class Comment(Request, frozen=True, tag=True):
    """Keep a comment under this key."""

    key: str
    text: str


class ReadJoins(Request, frozen=True, tag=True):
    """Read joins."""

    ids: list[str]


class ReadEnds(Request, frozen=True, tag=True):
    """Read done records, of the first so many of these tasks as fit in one answer."""

    ids: list[str]


class Withdraw(msgspec.Struct, frozen=True, tag=True):
    """Nobody waits for this answer any more."""

    number: int


ToSlot = Start | Heed | Interrupt | Answer | Close
FromSlot = Begun | Over | Said | Submit | WriteChunk | Hold | GiveBack | Comment | ReadJoins | ReadEnds | Withdraw

_ENDED: Final[dict[str, type]] = {
    kind.__name__: kind for kind in (ev.Returned, ev.Raised, ev.Snoozed, ev.Interrupted, ev.Honoured)
}


def _plain(value: Any) -> Any:
    if isinstance(value, Lane):
        return str(value)
    raise NotImplementedError


def _typed(kind: type, value: Any) -> Any:
    if kind is Lane:
        return parse_lane(value)
    raise NotImplementedError


encode = msgspec.json.Encoder(enc_hook=_plain).encode
to_slot: Final[Callable[[bytes], ToSlot]] = msgspec.json.Decoder(ToSlot, dec_hook=_typed).decode
_from_slot = msgspec.json.Decoder(FromSlot, dec_hook=_typed)


def framed(frame: Any) -> bytes:
    """The bytes of a frame."""
    body = encode(frame)
    if len(body) > limits.FRAME_MAX:
        raise Bad(f"a {type(frame).__name__} has {len(body)} bytes; a frame holds {limits.FRAME_MAX}")
    return LENGTH.pack(len(body)) + body


def from_slot(body: bytes) -> FromSlot:
    """What a slot says; raises Bad."""
    try:
        found: FromSlot = _from_slot.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Bad(f"it sent what is no frame: {error}") from None
    return found


def over(nonce: str, ended: Ended, resident: int, *, spoiled: bool) -> Over:
    """A task's end as a frame."""
    return Over(nonce, type(ended).__name__, msgspec.Raw(encode(ended)), resident, spoiled)


def ended(frame: Over, nonce: str) -> Ended:
    """The event of the end of a run; raises Bad."""
    if frame.nonce != nonce:
        raise Bad("it told the end of another run")
    try:
        found: Ended = msgspec.json.decode(frame.event, type=_ENDED[frame.kind], dec_hook=_typed)
    except (msgspec.MsgspecError, KeyError, ValueError, RecursionError) as error:
        raise Bad(f"its task's end cannot be read: {error}") from None
    return found


def decode(body: msgspec.Raw, kind: Any) -> Any:
    """The value of an answer."""
    return msgspec.json.decode(body, type=kind, dec_hook=_typed)


def receive(channel: socket.socket) -> bytes:
    """The next frame of a blocking socket; empty at its end."""
    head = _exactly(channel, LENGTH.size)
    return _exactly(channel, LENGTH.unpack(head)[0]) if head else b""


def _exactly(channel: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = channel.recv(count - len(found))
        if not part:
            return b""
        found += part
    return found
