"""How much a worker asks for, so that it never has more in hand than it can start soon."""

from collections.abc import Sequence

from natsume.model.times import BUFFER_AHEAD_S


def ahead(concurrency: int, ended_per_s: float) -> int:
    """How many tasks a busy worker buffers: what it will start within BUFFER_AHEAD_S, if tasks are short.

    Long tasks buffer nothing: one that lies behind an hour's work here could run elsewhere.
    """
    return min(concurrency, int(ended_per_s * BUFFER_AHEAD_S))


def pulls(room: int, together: Sequence[int], outstanding: Sequence[int], flowing: Sequence[bool]) -> list[int]:
    """How many more to ask of each lane, given what was asked and which lanes brought something since.

    `room` is free slots plus buffer less what is buffered; what is asked for them never exceeds it, but for one pull
    per lane that stands as long as there is any room. An idle lane holds little of the room; one that flows gets the
    rest when half of its reserve is used up. To that comes what `together` says of the lane, of tasks that will share
    slots; when they do not come, that is no loss of room to the others.
    """
    asked = [0] * len(outstanding)
    if room <= 0:
        return asked
    reserve = max(1, room // 8)
    share = max(1, room - reserve * (len(outstanding) - 1))
    left = room - sum(min(waiting, share) for waiting in outstanding)
    for lane, waiting in enumerate(outstanding):
        if waiting > reserve // 2:
            continue
        wanted = left - reserve if flowing[lane] else reserve - waiting
        asked[lane] = max(0 if waiting else 1, min(wanted, left))
        left -= asked[lane]
        asked[lane] += together[lane] if flowing[lane] else 0
    return asked
