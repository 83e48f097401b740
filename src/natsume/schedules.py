"""When a periodic task is due: values that know their occurrences, without a clock."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from natsume.exceptions import UsageError
from natsume.model import cron, rrules
from natsume.model.limits import HEADER_VALUE_MAX

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


class TaskScheduleBase(ABC):
    """Knows the times at which a periodic task is due: whole seconds, in UTC."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The schedule as JSON, from which `parse` makes an equal one."""

    @abstractmethod
    def next_after(self, t: datetime) -> datetime | None:
        """The first occurrence after `t`; None if there is none."""

    @abstractmethod
    def previous(self, t: datetime) -> datetime | None:
        """The last occurrence at or before `t`; None if there is none."""

    def occurrences(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The occurrences after `after` up to and including `until`, in order."""
        due = self.next_after(after)
        while due is not None and due <= until:
            yield due
            due = self.next_after(due)

    @property
    def server_text(self) -> str | None:
        """What makes the server itself repeat it, in UTC or the time zone; None where it cannot."""
        return None

    @property
    def server_zone(self) -> str | None:
        """The time zone that the server reads its text in; None is UTC."""
        return None


@dataclass(frozen=True)
class IntervalSeconds(TaskScheduleBase):
    """Every so many whole seconds, counted from the epoch: nothing that restarts can restart it."""

    seconds: int

    def __post_init__(self) -> None:
        seconds: Any = self.seconds
        if isinstance(seconds, float) and seconds.is_integer():
            object.__setattr__(self, "seconds", int(seconds))
        elif isinstance(seconds, bool) or not isinstance(seconds, int):
            raise UsageError(f"IntervalSeconds({seconds!r}): an interval is a whole number of seconds")
        if not 1 <= self.seconds <= _INTERVAL_MAX_S:
            raise UsageError(f"IntervalSeconds({seconds!r}): an interval is from 1 s to 100 years")

    @property
    def text(self) -> str:
        """The schedule as JSON."""
        return _json({"every": self.seconds})

    def next_after(self, t: datetime) -> datetime:
        """The first occurrence after `t`."""
        return _EPOCH + ((t - _EPOCH) // self._step + 1) * self._step

    def previous(self, t: datetime) -> datetime:
        """The last occurrence at or before `t`."""
        return _EPOCH + (t - _EPOCH) // self._step * self._step

    @property
    def server_text(self) -> str | None:
        """A cron expression where the interval divides a minute, an hour or a day.

        The server's own `@every` counts from when it was armed, and anew after each outage.
        """
        for unit, whole, fields in (
            (1, 60, "*/{} * * * * *"),
            (60, 60, "0 */{} * * * *"),
            (3600, 24, "0 0 */{} * * *"),
        ):
            count, rest = divmod(self.seconds, unit)
            if not rest and count and whole % count == 0:
                return cron.parse(fields.format(count) if count < whole else _EACH[unit]).text
        return None

    @property
    def _step(self) -> timedelta:
        return timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class CronSchedule(TaskScheduleBase):
    """By a cron expression of 5 fields, or 6 with the seconds first, in a time zone (UTC by default)."""

    expr: str
    timezone: str | None = None

    def __post_init__(self) -> None:
        try:
            parsed = cron.parse(self.expr)
        except (ValueError, AttributeError) as error:
            raise UsageError(f"CronSchedule({self.expr!r}): {error}") from None
        object.__setattr__(self, "_cron", parsed)
        object.__setattr__(self, "_zone", _zone(self.timezone, f"CronSchedule({self.expr!r})"))
        _bounded(self.text, "CronSchedule")

    @property
    def text(self) -> str:
        """The schedule as JSON."""
        return _json({"cron": " ".join(self.expr.split())} | ({"timezone": self.timezone} if self.timezone else {}))

    def next_after(self, t: datetime) -> datetime | None:
        """The first occurrence after `t`."""
        return cron.next_after(self._cron, t, self._zone)  # type: ignore[attr-defined]

    def previous(self, t: datetime) -> datetime | None:
        """The last occurrence at or before `t`."""
        return cron.previous(self._cron, t, self._zone)  # type: ignore[attr-defined]

    @property
    def server_text(self) -> str | None:
        """The expression in the server's dialect."""
        return str(self._cron.text)  # type: ignore[attr-defined]

    @property
    def server_zone(self) -> str | None:
        """The time zone, as the server reads it."""
        return self.timezone


@dataclass(frozen=True)
class RRuleSchedule(TaskScheduleBase):
    """By a recurrence rule of RFC 5545, such as `FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=18;BYMINUTE=0;BYSECOND=0`.

    `dtstart` is where the rule counts from; without one, and without a DTSTART in the rule, the epoch. A
    naive `dtstart` is in `timezone` (UTC by default).
    """

    rule: str
    dtstart: datetime | None = None
    timezone: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        zone = _zone(self.timezone, f"RRuleSchedule({self.rule!r})")
        start = self.dtstart or _EPOCH.astimezone(zone)
        if start.tzinfo is None:
            start = start.replace(tzinfo=zone)
        try:
            object.__setattr__(self, "_rule", rrules.parse(self.rule, start))
        except ValueError as error:
            raise UsageError(f"RRuleSchedule({self.rule!r}): {error}") from None
        _bounded(self.text, "RRuleSchedule")

    @property
    def text(self) -> str:
        """The schedule as JSON."""
        given = {"dtstart": self.dtstart.isoformat() if self.dtstart else None, "timezone": self.timezone}
        return _json({"rrule": self.rule} | {name: value for name, value in given.items() if value})

    def next_after(self, t: datetime) -> datetime | None:
        """The first occurrence after `t`."""
        rule, at = next(rrules.near(self._rule, t)), t  # type: ignore[attr-defined]
        while (found := rule.after(at)) is not None:
            if rrules.exists(found) and found.astimezone(UTC) > t:
                return _utc(found)
            at = found
        return None

    def previous(self, t: datetime) -> datetime | None:
        """The last occurrence at or before `t`."""
        for rule in rrules.near(self._rule, t):  # type: ignore[attr-defined]
            at = t
            while (found := rule.before(at, inc=True)) is not None:
                if rrules.exists(found) and found.astimezone(UTC) <= t:
                    return _utc(found)
                at = found - _SECOND
        return None


Schedule = IntervalSeconds | CronSchedule | RRuleSchedule


@lru_cache(maxsize=512)
def parse(text: str) -> Schedule:
    """The schedule that wrote this text; UsageError if none did."""
    try:
        given = msgspec.json.decode(text, type=dict[str, Any])
        if "every" in given:
            return IntervalSeconds(given["every"])
        if "cron" in given:
            return CronSchedule(given["cron"], given.get("timezone"))
        start = given.get("dtstart")
        dtstart = datetime.fromisoformat(start) if start else None
        return RRuleSchedule(given["rrule"], dtstart, timezone=given.get("timezone"))
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{text!r} is no schedule: {' '.join(str(error).split())}") from None


def is_text(text: str) -> bool:
    """Whether `parse` takes it."""
    try:
        parse(text)
    except UsageError:
        return False
    return True


_INTERVAL_MAX_S: Final = 100 * 365 * 86_400
_EACH: Final = {1: "0 * * * * *", 60: "0 0 * * * *", 3600: "0 0 0 * * *"}


def _utc(t: datetime) -> datetime:
    return t.astimezone(UTC)


def _zone(name: str | None, what: str) -> tzinfo:
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError, TypeError):
        raise UsageError(f"{what}: {name!r} is no time zone; write one such as Europe/Berlin") from None


def _bounded(text: str, what: str) -> None:
    if len(text) > HEADER_VALUE_MAX or not text.isascii():
        raise UsageError(f"{what}: its text must be ASCII and at most {HEADER_VALUE_MAX} characters long")


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
