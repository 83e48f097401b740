"""Which chunks are left over: no done record names them, and none ever will."""

from collections.abc import Iterable, Mapping

import msgspec

from natsume.model.record import Done
from natsume.model.times import CHUNK_WAITS_S


class ChunkName(msgspec.Struct, frozen=True):
    """A chunk in the broker: whose, and which run wrote it."""

    subject: str
    task_id: str
    nonce: str


def unnamed(names: Iterable[ChunkName], ends: Mapping[str, Done]) -> list[ChunkName]:
    """Those of tasks that were committed by another run, or by their own without naming chunks.

    What the done record names is the reactor's to remove, when all of it is submitted.
    """
    return [
        name
        for name in names
        if (done := ends.get(name.task_id)) is not None and (done.nonce != name.nonce or not done.chunks)
    ]


def expired(written_at: float, now: float) -> bool:
    """Whether a chunk is so old that its run does not commit any more."""
    return now - written_at > CHUNK_WAITS_S
