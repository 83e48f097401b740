"""The wire format of a task: JSON arguments in the body, everything else in headers.

CloudEvents names where one exists (`ce-id`, `ce-time`), W3C `traceparent`, ours otherwise. Every header
is optional: `nats pub` of a body alone is a valid submission. Names are compared without case.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

from natsume.model import limits
from natsume.model.subject import Lane, is_id, ready
from natsume.model.task import Fault, Reason, Task

SCHEMA: Final = "1"
_DIGITS_MAX: Final = 7

_LINE = b"%b: %b\r\n"
_PRINTABLE = re.compile(r"[\x20-\x7e\u00a0-\uffff]*")
_COUNTS: Final = {
    b"natsume-attempt": "attempt",
    b"natsume-hop": "hop",
    b"natsume-waits": "waits",
    b"natsume-offers": "offers",
    b"natsume-member": "member",
}
_HOPPING: Final = {name: field for name, field in _COUNTS.items() if field != "member"}
_TEXTS: Final = {
    b"natsume-owner": "owner",
    b"natsume-tenant": "tenant",
    b"natsume-parent": "parent",
    b"natsume-root": "root",
    b"natsume-join": "join",
    b"natsume-after": "after",
    b"natsume-claim": "claim",
    b"natsume-replay-of": "replay_of",
    b"natsume-schedule": "schedule",
    b"natsume-rights": "rights",
    b"traceparent": "trace",
}
_SHOWN: Final = {name: name if name == b"traceparent" else name.title() for name in (*_COUNTS, *_TEXTS)}
_TIMES: Final = {b"ce-time": "submitted_at", b"natsume-waiting-since": "waiting_since"}
_TIME_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_TIME_END: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
"""A time outside could not be written again, and its task never be armed."""
_IDS: Final = {"parent", "root", "join", "after", "claim", "replay_of"}
_COMMON: Final = re.compile(
    rb"NATS/1\.0\r\nNats-Msg-Id: [^\r\n]{1,%d}\r\nce-id: ([A-Za-z0-9_=-]{1,%d})\r\nNatsume-Schema: %b\r\n"
    rb"ce-time: ([0-9TZ:.-]{20,27})\r\n(Natsume-Tracked: 1\r\n)?\r\n"
    % (limits.HEADER_VALUE_MAX, limits.ID_MAX, SCHEMA.encode())
)
"""What clients of ours write of a task that nothing more is to be said of: read as one, in a third of the time."""

_labels = msgspec.json.Decoder(dict[str, str])
_grants = msgspec.json.Decoder(dict[str, float])


Reader = Callable[[dict[str, object], bytes, bytes], None]
"""Takes what is known of a task and adds what a header of this name and value says; ValueError if it says nothing."""


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """A message of TASKS, decoded as far as it goes: the task, what ails it, and how it came."""

    task: Task
    fault: Fault | None = None
    resent: bool = False
    fired: bool = False


def timestamp(at: float) -> str:
    """A Unix time as RFC 3339 in UTC with microseconds, as the server's schedules take it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def due_time(at: float) -> str:
    """A Unix time as the server's one-shot schedules take it; one that it cannot count is the last that it can."""
    return timestamp(min(at, limits.DUE_END))


def task_headers(task: Task, *, resent: bool = False) -> bytes:
    """The header lines of a task, without a message id."""
    at = task.submitted_at
    head = b"ce-id: %b\r\nNatsume-Schema: 1\r\n%b" % (task.id.encode(), b"" if at is None else _time_line(at))
    if resent:
        head += b"Natsume-Resent: 1\r\n"
    if task.tracked:
        head += b"Natsume-Tracked: 1\r\n"
    if task.hop or task.attempt > 1:
        head += b"".join([_LINE % (_SHOWN[name], b"%d" % getattr(task, field)) for name, field in _HOPPING.items()])
    if _is_plain(task):
        return head
    texts = [(name, getattr(task, field)) for name, field in _TEXTS.items()]
    if task.waiting_since is not None:
        head += _LINE % (b"Natsume-Waiting-Since", timestamp(task.waiting_since).encode())
    if task.grants:
        head += _LINE % (b"Natsume-Grants", msgspec.json.encode(task.grants))
    if task.member is not None:
        head += b"Natsume-Member: %d\r\n" % task.member
    lines = [_LINE % (_SHOWN[name], clean(text, name.decode()).encode()) for name, text in texts if text is not None]
    head += b"".join(lines)
    return head + _LINE % (b"Natsume-Labels", msgspec.json.encode(task.labels)) if task.labels else head


def _is_plain(task: Task) -> bool:
    family = task.parent or task.root or task.join or task.after or task.claim or task.replay_of
    told = task.owner or task.tenant or task.labels or task.trace or task.rights
    return not (family or told or task.schedule or task.waiting_since or task.grants)


@lru_cache(maxsize=256)
def _time_line(at: float) -> bytes:
    return _LINE % (b"ce-time", timestamp(at).encode())


def clean(value: str, what: str) -> str:
    """`value` if it can stand in a header, else ValueError."""
    if len(value) > limits.HEADER_VALUE_MAX or not _PRINTABLE.fullmatch(value) or value != value.strip():
        raise ValueError(
            f"{what} must be printable, without spaces at its ends, and at most {limits.HEADER_VALUE_MAX} characters"
        )
    return value


def decode(lane: Lane, actor: str | None, derived_id: str, headers: bytes | None, body: bytes) -> Envelope:
    """The task in a message; what cannot be read is an Envelope with a fault, never an exception."""
    if actor is None:
        sentence = "the subject is not task.<priority>.<size>.<group>.<Actor>"
        return Envelope(Task(derived_id, "", lane, body), Fault(Reason.UNKNOWN_ACTOR, sentence))
    if headers is None:
        return Envelope(Task(derived_id, actor, lane, body))
    if (common := _COMMON.fullmatch(headers)) and (at := _seconds(common[2])) is not None:
        task_id, tracked = common[1].decode(), common[3] is not None
        return Envelope(Task(task_id, actor, lane, body, submitted_at=at, tracked=tracked))
    known: dict[str, object] = {"id": derived_id}
    seen: set[bytes] = set()
    try:
        _read(headers, known, seen)
    except ValueError as error:
        at_hand = known["id"] if isinstance(known["id"], str) else derived_id
        return Envelope(Task(at_hand, actor, lane, body), Fault(Reason.UNPARSABLE, str(error)))
    task = Task(actor=actor, lane=lane, body=body, **known)  # type: ignore[arg-type]
    return Envelope(task, None, b"natsume-resent" in seen, b"nats-scheduler" in seen)


def header(headers: bytes, name: bytes) -> str:
    """The value of one header, by its name in lower case; empty if it is not there."""
    for line in headers[10:-4].split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().decode("utf-8", "replace")
    return ""


def _read(headers: bytes, known: dict[str, object], seen: set[bytes]) -> None:
    for line in headers[10:-4][: limits.HEADERS_MAX].split(b"\r\n"):
        spelled, _, value = line.partition(b":")
        name, read = _SPELLED.get(spelled) or _named(spelled)
        if read is not None:
            read(known, name, value.strip())
        elif name in _PRESENT:
            seen.add(name)
    if len(headers) > limits.HEADERS_MAX:
        raise ValueError(f"the headers are {len(headers)} bytes; at most {limits.HEADERS_MAX} are read")


def _named(spelled: bytes) -> tuple[bytes, Reader | None]:
    name = spelled.strip().lower()
    return name, _READERS.get(name)


def _read_id(known: dict[str, object], _name: bytes, value: bytes) -> None:
    text = value.decode("ascii", "replace")
    if len(text) > limits.ID_MAX or not is_id(text):
        raise ValueError(f"ce-id must be 1 to {limits.ID_MAX} letters, digits, '-', '_' or '='")
    known["id"] = text


def _read_time(known: dict[str, object], name: bytes, value: bytes) -> None:
    at = _seconds(value)
    if at is None:
        raise ValueError(f"{name.decode()} must be a time as RFC 3339 writes it")
    known[_TIMES[name]] = at


@lru_cache(maxsize=256)
def _seconds(stamp: bytes) -> float | None:
    """A Unix time, None if it is none; many tasks that were submitted together have the same."""
    try:
        at = datetime.fromisoformat(stamp.decode("ascii"))
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if _TIME_FIRST <= seconds < _TIME_END else None


def _read_count(known: dict[str, object], name: bytes, value: bytes) -> None:
    most = limits.MEMBERS_MAX if name == b"natsume-member" else limits.ATTEMPT_MAX
    if not value.isdigit() or len(value) > _DIGITS_MAX or int(value) > most:
        raise ValueError(f"{name.decode()} must be a number up to {most}")
    known[_COUNTS[name]] = max(int(value), 1) if name == b"natsume-attempt" else int(value)


def _read_text(known: dict[str, object], name: bytes, value: bytes) -> None:
    field = _TEXTS[name]
    try:
        text = clean(value.decode(), name.decode())
    except UnicodeDecodeError:
        raise ValueError(f"{name.decode()} must be UTF-8") from None
    if field in _IDS and not is_id(text):
        raise ValueError(f"{name.decode()} must be a task's id")
    known[field] = text


def _read_labels(known: dict[str, object], _name: bytes, value: bytes) -> None:
    try:
        labels = _labels.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("natsume-labels must be a JSON object of strings") from None
    if len(labels) > limits.LABELS_MAX:
        raise ValueError(f"natsume-labels may hold {limits.LABELS_MAX} labels")
    known["labels"] = labels


def _read_grants(known: dict[str, object], _name: bytes, value: bytes) -> None:
    try:
        grants = _grants.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("natsume-grants must be a JSON object of times in Unix seconds") from None
    if len(grants) > limits.RATES_MAX or not all(0 <= at < _TIME_END for at in grants.values()):
        raise ValueError(f"natsume-grants may hold {limits.RATES_MAX} times before the year 9999")
    known["grants"] = grants


def _read_schema(_known: dict[str, object], _name: bytes, value: bytes) -> None:
    if value != SCHEMA.encode():
        raise ValueError(f"natsume-schema must be {SCHEMA}: a newer worker is needed for this message")


def _read_tracked(known: dict[str, object], _name: bytes, value: bytes) -> None:
    known["tracked"] = value == b"1"


_READERS: Final[dict[bytes, Reader]] = {
    b"ce-id": _read_id,
    b"natsume-schema": _read_schema,
    b"natsume-tracked": _read_tracked,
    b"natsume-labels": _read_labels,
    b"natsume-grants": _read_grants,
    **dict.fromkeys(_TIMES, _read_time),
    **dict.fromkeys(_COUNTS, _read_count),
    **dict.fromkeys(_TEXTS, _read_text),
}
_PRESENT: Final = frozenset({b"natsume-resent", b"nats-scheduler"})
_SPELLED: Final = {
    spelled: _named(name) for name in (*_READERS, *_PRESENT, b"nats-msg-id") for spelled in (name, name.title())
}
"""The names as clients write them, which spares most lines a look at each letter."""


def task_subject(task: Task) -> str:
    """Where this task lies when it is ready."""
    return ready(task.lane, task.actor)
