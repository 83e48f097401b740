"""Whether what waits on a lane is good or bad, in a word and a sentence."""

from collections.abc import Sequence
from typing import Final

import msgspec

from natsume.enums import Priority
from natsume.model.lock import Standing
from natsume.model.subject import Lane

LASTING_S: Final = 60.0
"""A backlog whose oldest task is older than this is no burst."""

QUIET_S: Final = 60.0
"""A size whose tasks are in hand while nothing was delivered or acknowledged for so long may have no worker."""


_MORE: Final = "add workers or slots"


class Reading(msgspec.Struct, frozen=True):
    """A consumer as the broker tells it now; ages in seconds, None where nothing is there to have one.

    `quiet_s` is the time since it last delivered or was acknowledged, `pending_before` what was pending
    `window_s` earlier, where that was read.
    """

    pending: int = 0
    in_flight: int = 0
    waiting_pulls: int = 0
    redelivered: int = 0
    oldest_s: float | None = None
    quiet_s: float | None = None
    pending_before: int | None = None
    window_s: float = 0.0


class Judgement(msgspec.Struct, frozen=True):
    """A word (`ok`, `backlog`, `lasting`, `growing`, `no worker`, `no conductor`), why, and what to do."""

    word: str
    sentence: str
    advice: str = ""


def judge(lane: Lane, readings: dict[Lane, Reading]) -> Judgement:
    """What is to be said of a lane, given all lanes: a worker serves all those of its size."""
    reading = readings[lane]
    if not reading.pending:
        return Judgement("ok", "nothing waits")
    if sentence := _unserved(lane, readings):
        return Judgement("no worker", sentence, f"start `natsume worker --size {lane.size.value}`")
    match lane.priority:
        case Priority.REALTIME:
            return _realtime(reading)
        case Priority.NORMAL:
            return _normal(reading)
    return _background(reading)


def judge_effects(reading: Reading) -> Judgement:
    """What is to be said of the done records from which children, joins and callbacks follow."""
    if not reading.pending:
        return Judgement("ok", "nothing waits")
    if reading.waiting_pulls:
        return Judgement("ok", f"{reading.pending} wait for a conductor that is there")
    effects = _of(reading.pending, "commit")
    return Judgement("no conductor", f"nobody carries out the effects of {effects}", "start `natsume conductor`")


def judge_waiters(locks: Sequence[Standing]) -> Judgement:
    """What is to be said of the tasks that wait for locks, on no lane."""
    longest = max(locks, key=lambda lock: lock.waiters)
    count = sum(lock.waiters for lock in locks)
    waited = sum(lock.waiters > 0 for lock in locks)
    sentence = f"{_of(count, 'task')} waiting for {_of(waited, 'lock')}, {longest.waiters} of them for {longest.name}"
    return Judgement("ok", sentence, "see `natsume locks ls`")


def _unserved(lane: Lane, readings: dict[Lane, Reading]) -> str | None:
    """Why it seems that no worker serves this lane; None if one does."""
    same = [reading for other, reading in readings.items() if other.size is lane.size]
    if any(reading.waiting_pulls for reading in same):
        return None
    waits = f"{_of(readings[lane].pending, 'task')} waiting, and no {lane.size.value} worker pulls"
    if not any(reading.in_flight for reading in same):
        return waits
    quiet_s = min((reading.quiet_s for reading in same if reading.quiet_s is not None), default=None)
    if quiet_s is not None and quiet_s > QUIET_S:
        return f"{waits}; nothing moved for {quiet_s:.0f} s, unless long tasks fill every slot"
    return None


def _realtime(reading: Reading) -> Judgement:
    return Judgement("backlog", f"{_of(reading.pending, 'task')} waiting where none should", _MORE)


def _normal(reading: Reading) -> Judgement:
    if reading.oldest_s is not None and reading.oldest_s > LASTING_S:
        return Judgement("lasting", f"no burst: the oldest waits for {reading.oldest_s:.0f} s", _MORE)
    return Judgement("ok", f"a burst: the oldest waits for less than {LASTING_S:.0f} s")


def _background(reading: Reading) -> Judgement:
    before, now = reading.pending_before, reading.pending
    if before is None:
        return Judgement("ok", "a backlog is fine here; its growth was not looked at")
    compared = f"{before} pending, then {now} after {reading.window_s:g} s"
    old = reading.oldest_s is not None and reading.oldest_s > LASTING_S
    if now > before and old:
        return Judgement("growing", f"{compared}, and the oldest waits for {reading.oldest_s:.0f} s", _MORE)
    return Judgement("ok", f"a backlog is fine here ({compared})")


def _of(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
