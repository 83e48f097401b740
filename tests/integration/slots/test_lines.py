"""What is said between a worker and a slot is bounded and checked, and comes over whole."""

import asyncio
import socket

import pytest

from natsume.core import events as ev
from natsume.model import limits
from natsume.model.subject import LANES
from natsume.model.task import Task
from natsume.slots import frames
from natsume.slots.channel import Channel
from natsume.testing import until


class End:
    """One end of a line, and what came over it."""

    def __init__(self, line: socket.socket) -> None:
        self.got: list[bytes] = []
        self.why: str | None = None
        self.over = False
        self.channel = Channel(line, self.got.append, self._gone)

    def _gone(self, why: str | None) -> None:
        self.why, self.over = why, True


TASK = Task("t", "g:A", LANES[0], b"{}", 3, trace="00-1-2-01", labels={"a": "b"}, grants={"x": 1.5}, hop=4)


async def test_a_task_comes_over_as_it_is() -> None:
    start = frames.Start(TASK, "nonce", "worker", frames.Limits(1.0), 0.5, {"key": 7})
    assert frames.to_slot(frames.framed(start)[frames.LENGTH.size :]) == start


async def test_frames_that_are_larger_than_the_socket_come_over_in_order() -> None:
    here, there = map(End, socket.socketpair())
    sent = [frames.Answer(number, sentence="x" * 500_000) for number in range(8)]
    for frame in sent:
        here.channel.send(frame)
    await until(lambda: len(there.got) == len(sent))
    assert [frames.to_slot(body) for body in there.got] == sent
    here.channel.close()
    await until(lambda: there.over)
    assert there.why is None


async def test_what_is_too_large_is_refused_by_who_sends_and_by_who_reads() -> None:
    ours, theirs = socket.socketpair()
    end = End(ours)
    with pytest.raises(frames.Bad, match="a frame holds"):
        end.channel.send(frames.Answer(1, sentence="x" * limits.FRAME_MAX))
    with theirs:
        theirs.sendall(frames.LENGTH.pack(limits.FRAME_MAX + 1))
        await until(lambda: end.why)
    assert end.why is not None
    assert "at most" in end.why


@pytest.mark.parametrize("body", [b"", b"null", b"{", b'{"type":"Begun"}', b'{"type":"Start"}', b"[" * 10_000, b"\xff"])
async def test_what_is_no_frame_of_a_slot_is_refused(body: bytes) -> None:
    with pytest.raises(frames.Bad):
        frames.from_slot(body)


@pytest.mark.parametrize("kind", ["Returned", "Nothing", "Locked"])
async def test_an_end_that_is_none_is_refused(kind: str) -> None:
    await asyncio.sleep(0)
    over = frames.from_slot(
        b'{"type":"Over","nonce":"n","kind":"%b","event":{"at":"soon"},"resident":0,"spoiled":false}' % kind.encode()
    )
    assert isinstance(over, frames.Over)
    with pytest.raises(frames.Bad):
        frames.ended(over, "n")


async def test_the_end_of_another_run_is_refused() -> None:
    over = frames.over("one", ev.Interrupted(1.0, 2.0), 0, spoiled=False)
    assert frames.ended(over, "one") == ev.Interrupted(1.0, 2.0)
    with pytest.raises(frames.Bad, match="another run"):
        frames.ended(over, "other")
