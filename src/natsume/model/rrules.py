"""Recurrence rules of RFC 5545, read by python-dateutil, which counts them out from their start."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_YEAR_AND_MORE: Final = timedelta(days=400)
# By dateutil's numbers of the frequencies, WEEKLY to SECONDLY: a start may move by so many intervals.
_MOVES: Final = {2: 7 * _DAY, 3: _DAY, 4: _DAY, 5: _HOUR, 6: _MINUTE}
_NAIVE: Final = "its DTSTART or UNTIL has no time zone: write 20260101T060000Z, or DTSTART;TZID=Europe/Berlin:…"


def parse(text: str, start: datetime) -> Any:
    """The rule of a text, counted from `start` unless it says itself; ValueError says what is wrong."""
    from dateutil.rrule import rrulestr  # noqa: PLC0415 - most schedules are none

    try:
        rule = rrulestr(text, dtstart=start)
        first = next(iter(rule), None)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        cause = " ".join(str(error).split()) or "it cannot be read"
        raise ValueError(_NAIVE if "naive" in cause else cause) from None
    if first is None:
        raise ValueError("it never happens")
    if first.tzinfo is None:
        raise ValueError(_NAIVE)
    return rule


def near(rule: Any, t: datetime) -> Iterator[Any]:
    """Equal rules that start nearer to `t`, and the rule itself: counting from far away takes long."""
    move = _MOVES.get(getattr(rule, "_freq", -1))
    if move is not None and rule._count is None:
        step = move * rule._interval
        start: datetime = rule._dtstart
        for margin in (2 * step, _YEAR_AND_MORE):
            moves = (t.astimezone(start.tzinfo).replace(tzinfo=None) - start.replace(tzinfo=None) - margin) // step
            if moves > 0:
                yield rule.replace(dtstart=start + moves * step)
    yield rule


def exists(t: datetime) -> bool:
    """Whether the clock of its time zone shows this time: a daylight-saving change leaves some out."""
    return t.astimezone(UTC).astimezone(t.tzinfo).replace(tzinfo=None) == t.replace(tzinfo=None)
