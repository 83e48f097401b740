"""Which chunks may go: those that no done record names, and none ever will."""

import pytest

from natsume.core.leftovers import ChunkName, expired, unnamed
from natsume.model.record import Done
from natsume.model.task import State
from natsume.model.times import CHUNK_WAITS_S

NAME = ChunkName("record.chunk.run-0.t", "t", "run")


def done(nonce: str, chunks: int, state: State = State.COMPLETED) -> Done:
    return Done("t", "a:A", state, nonce, "w", 1, 0.0, 0.0, chunks=chunks)


@pytest.mark.parametrize(
    ("end", "goes"),
    [
        pytest.param(None, False, id="not committed yet"),
        pytest.param(done("run", 1), False, id="named by its own run: the reactor's"),
        pytest.param(done("run", 0, State.FAILED), True, id="its run failed after it was written"),
        pytest.param(done("other", 0), True, id="another run needed none"),
        pytest.param(done("other", 3), True, id="another run wrote its own"),
    ],
)
def test_a_chunk_goes_when_its_run_cannot_commit_it_any_more(end: Done | None, goes: bool) -> None:
    assert unnamed([NAME], {} if end is None else {"t": end}) == ([NAME] if goes else [])


def test_what_never_commits_waits_for_a_bounded_time() -> None:
    assert not expired(1000.0, 1000.0 + CHUNK_WAITS_S)
    assert expired(1000.0, 1001.0 + CHUNK_WAITS_S)
