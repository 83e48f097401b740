"""Cron expressions as the server's schedules read them: 6 fields, seconds first; 5 fields start at second 0.

Times of the clock that a daylight-saving change leaves out are no occurrences. Times that it repeats are one
occurrence, the first, where the hours are restricted, and two where every hour counts: `*/10 * * * *` goes on
every ten minutes, `30 2 * * *` happens once a day.
"""

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

import msgspec

_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_FIELDS: Final[tuple[tuple[str, int, int, dict[str, int]], ...]] = (
    ("second", 0, 59, {}),
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("weekday", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_WHOLE_DAY: Final = 24
_SUNDAY_TOO: Final = 7
_YEARS_MAX: Final = 40
"""A 29 February on a given weekday comes after 40 years at the latest."""


class Cron(msgspec.Struct, frozen=True):
    """The values that each field allows; `days` and `weekdays` are None where they are not restricted."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None

    @property
    def text(self) -> str:
        """The six fields as the server takes them, whatever its dialect makes of names and steps."""
        fields: list[tuple[set[int] | None, int]] = [
            (set(self.seconds), 60),
            (set(self.minutes), 60),
            (set(self.hours), _WHOLE_DAY),
            (set(self.days) if self.days is not None else None, 0),
            (set(self.months), len(_MONTHS)),
            (set(self.weekdays) if self.weekdays is not None else None, 0),
        ]
        return " ".join(
            "*" if allowed is None or len(allowed) == full else _listed(allowed) for allowed, full in fields
        )

    def allows(self, day: date) -> bool:
        """Whether it happens on this date; of day and weekday, where both are restricted, one must fit."""
        if day.month not in self.months:
            return False
        weekday = day.isoweekday() % 7
        if self.days is None or self.weekdays is None:
            return (self.days is None or day.day in self.days) and (self.weekdays is None or weekday in self.weekdays)
        return day.day in self.days or weekday in self.weekdays


def parse(expression: str) -> Cron:
    """The fields of an expression; ValueError says in one sentence what is wrong."""
    texts = expression.split()
    if len(texts) == len(_FIELDS) - 1:
        texts.insert(0, "0")
    if len(texts) != len(_FIELDS):
        raise ValueError(
            f"a cron expression has 5 fields, or 6 with the seconds first; {expression!r} has {len(texts)}"
        )
    sets = [_field(text, *field) for text, field in zip(texts, _FIELDS, strict=True)]
    seconds, minutes, hours, days, months, weekdays = sets
    cron = Cron(
        tuple(sorted(seconds)),
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        None if texts[3] in {"*", "?"} else frozenset(days),
        frozenset(months),
        None if texts[5] in {"*", "?"} else frozenset(day % _SUNDAY_TOO for day in weekdays),
    )
    if next_after(cron, datetime(2000, 1, 1, tzinfo=UTC), UTC) is None:
        raise ValueError(f"{expression!r} names a date that does not exist")
    return cron


def next_after(cron: Cron, at: datetime, zone: tzinfo) -> datetime | None:
    """The first occurrence after a time, in UTC."""
    at = at.astimezone(UTC)
    day = at.astimezone(zone).date()
    for _ in range(_YEARS_MAX * 366):
        minutes = _minutes(cron, day, zone) if cron.allows(day) else ()
        found = _first(cron, minutes, at)
        if found is not None:
            return found
        day += timedelta(days=1)
    return None


def previous(cron: Cron, at: datetime, zone: tzinfo) -> datetime | None:
    """The last occurrence at or before a time, in UTC."""
    at = at.astimezone(UTC)
    day = at.astimezone(zone).date()
    for _ in range(_YEARS_MAX * 366):
        minutes = _minutes(cron, day, zone) if cron.allows(day) else ()
        found = _last(cron, minutes, at)
        if found is not None:
            return found
        day -= timedelta(days=1)
    return None


def _first(cron: Cron, minutes: tuple[datetime, ...], at: datetime) -> datetime | None:
    for minute in minutes[max(0, bisect_right(minutes, at) - 1) :]:
        passed = (at - minute).total_seconds()
        number = bisect_right(cron.seconds, passed) if passed >= 0 else 0
        if number < len(cron.seconds):
            return minute + timedelta(seconds=cron.seconds[number])
    return None


def _last(cron: Cron, minutes: tuple[datetime, ...], at: datetime) -> datetime | None:
    for minute in reversed(minutes[: bisect_right(minutes, at)]):
        number = bisect_left(cron.seconds, (at - minute).total_seconds() + 1e-7)
        if number:
            return minute + timedelta(seconds=cron.seconds[number - 1])
    return None


@lru_cache(maxsize=256)
def _minutes(cron: Cron, day: date, zone: tzinfo) -> tuple[datetime, ...]:
    """The minutes of a local day in which it happens, in UTC and in order."""
    found = []
    twice = len(cron.hours) == _WHOLE_DAY
    for hour in cron.hours:
        for minute in cron.minutes:
            wall = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
            first = wall.astimezone(UTC)
            if first.astimezone(zone).replace(tzinfo=None) != wall.replace(tzinfo=None):
                continue  # the clock leaves it out
            found.append(first)
            second = wall.replace(fold=1).astimezone(UTC)
            if twice and second != first:
                found.append(second)
    return tuple(sorted(found))


def _field(text: str, name: str, least: int, most: int, names: dict[str, int]) -> set[int]:
    allowed: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = int(step_text) if step_text.isdecimal() else 0
        if slash and not step:
            raise ValueError(f"the step {step_text!r} of the {name} is not a number above 0")
        if span in {"*", "?"}:
            first, last = least, most
        else:
            start, dash, end = span.partition("-")
            first = _value(start, name, least, most, names)
            last = _value(end, name, least, most, names) if dash else most if slash else first
        if first > last:
            raise ValueError(f"the range {span!r} of the {name} ends before it starts")
        allowed.update(range(first, last + 1, step or 1))
    return allowed


def _value(text: str, name: str, least: int, most: int, names: dict[str, int]) -> int:
    value = names.get(text.upper(), int(text) if text.isdecimal() else -1)
    if not least <= value <= most:
        words = " or a name" if names else ""
        raise ValueError(f"the {name} {text!r} is not a number from {least} to {most}{words}")
    return value


def _listed(allowed: set[int]) -> str:
    return ",".join(map(str, sorted(allowed)))
