"""A domain event as services publish it, and the patterns by which actors choose events.

Its type is what stands after `event.` in its subject: `job.submitted`. A pattern may have `*` for one
token and `>` for all that follow.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from natsume.model import limits
from natsume.model.codec import clean, timestamp

_TYPE: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_PATTERN: Final = re.compile(r"(([A-Za-z0-9_-]+|\*)(\.([A-Za-z0-9_-]+|\*))*(\.>)?|>)")
_HEAD: Final = len(b"NATS/1.0\r\n")


class Event(msgspec.Struct, frozen=True):
    """Something that happened: its type, its id, what is said of it, when and by whom."""

    type: str
    id: str
    data: Any
    time: datetime
    source: str | None = None


class Envelope(msgspec.Struct, frozen=True):
    """The message of an event as far as it is known without reading its data."""

    type: str
    id: str
    body: bytes
    at: float
    source: str | None = None
    trace: str | None = None
    resent: bool = False

    @property
    def event(self) -> Event:
        """The event with its data; msgspec.DecodeError if that is no JSON."""
        data = msgspec.json.decode(self.body) if self.body else {}
        return Event(self.type, self.id, data, datetime.fromtimestamp(self.at, UTC), self.source)


def event_headers(event_id: str, event_type: str, at: float, source: str | None, *, resent: bool) -> bytes:
    """The header lines of an event, with the message id that lets the server drop a second copy."""
    message_id = clean(f"{event_type}:{event_id}", "the id of an event")
    lines = f"ce-id: {event_id}\r\nce-type: {event_type}\r\nce-time: {timestamp(at)}\r\nNats-Msg-Id: {message_id}\r\n"
    if source is not None:
        lines += f"ce-source: {clean(source, 'the source of an event')}\r\n"
    return (lines + "Natsume-Resent: 1\r\n" * resent).encode()


def read_event(event_type: str, derived_id: str, stored_at: float, headers: bytes | None, body: bytes) -> Envelope:
    """An event's message; what no header says, or says wrongly, comes from the stream."""
    lines = _lines(headers)
    at = stored_at
    try:
        given = datetime.fromisoformat(lines.get("ce-time", ""))
        at = (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        pass
    if not 0 <= at < limits.TIME_END:
        at = stored_at
    return Envelope(
        event_type,
        lines.get("ce-id") or derived_id,
        body,
        at,
        lines.get("ce-source"),
        _kept(lines.get("traceparent")),
        "natsume-resent" in lines,
    )


def _lines(headers: bytes | None) -> dict[str, str]:
    if headers is None:
        return {}
    found = (line.partition(":") for line in headers[_HEAD:-4].decode("utf-8", "replace").split("\r\n"))
    return {name.strip().lower(): value.strip() for name, _, value in found}


def _kept(text: str | None) -> str | None:
    try:
        return None if text is None else clean(text, "traceparent")
    except ValueError:
        return None


def is_type(text: object) -> bool:
    """Whether an event may be of this type: tokens of letters, digits, `-` and `_`, with dots between."""
    return isinstance(text, str) and len(text) <= limits.EVENT_TYPE_MAX and _TYPE.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Whether this chooses events: a type whose tokens may be `*`, the last one `>`."""
    return isinstance(text, str) and len(text) <= limits.EVENT_TYPE_MAX and _PATTERN.fullmatch(text) is not None


def covers(wide: str, narrow: str) -> bool:
    """Whether a pattern takes every event that another takes."""
    ours, theirs = wide.split("."), narrow.split(".")
    for at, token in enumerate(ours):
        if token == ">":
            return len(theirs) > at
        if at >= len(theirs) or theirs[at] == ">" or (token not in {"*", theirs[at]}):
            return False
    return len(ours) == len(theirs)


def meet(one: str, other: str) -> bool:
    """Whether some event is taken by both patterns."""
    ours, theirs = one.split("."), other.split(".")
    for mine, its in zip(ours, theirs, strict=False):
        if ">" in {mine, its}:
            return True
        if "*" not in {mine, its} and mine != its:
            return False
    return len(ours) == len(theirs)


def without_covered(patterns: Sequence[str]) -> tuple[str, ...]:
    """The patterns that no other of them covers; the server wants filters that do not overlap."""
    distinct = list(dict.fromkeys(patterns))
    return tuple(one for one in distinct if not any(one != other and covers(other, one) for other in distinct))
