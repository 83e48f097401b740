"""What requests may ask: each parameter with its bound, read whole or refused in one sentence."""

from datetime import datetime
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from natsume.core.listing import labels_of
from natsume.exceptions import UsageError
from natsume.model import limits, times
from natsume.model.ledger import Filter, Place
from natsume.model.task import State

Text = Annotated[str, Meta(max_length=limits.HEADER_VALUE_MAX)]
Texts = Annotated[tuple[Text, ...], Meta(max_length=limits.FILTER_VALUES_MAX)]
Moment = Annotated[datetime, Meta(tz=True)]


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of a listing: those that take several values may be given several times."""

    id: Annotated[Texts | None, Meta(description="Tokens; `*` stands for any text.")] = None
    state: Annotated[Annotated[tuple[State, ...], Meta(max_length=len(State))] | None, Meta(description="States.")] = (
        None
    )
    actor: Annotated[Texts | None, Meta(description="Actors; `*` stands for any text.")] = None
    owner: Annotated[Texts | None, Meta(description="Owners; `*` stands for any text. Empty: those without.")] = None
    tenant: Annotated[Texts | None, Meta(description="Tenants. Empty: those without.")] = None
    worker: Annotated[Texts | None, Meta(description="Workers that ran them last; `*` stands for any text.")] = None
    parent: Annotated[Texts | None, Meta(description="Their parents. Empty: those without.")] = None
    root: Annotated[Texts | None, Meta(description="The first of their ancestors. Empty: those without.")] = None
    join: Annotated[Texts | None, Meta(description="Joins that wait for them. Empty: those without.")] = None
    reason: Annotated[Texts | None, Meta(description="Reasons of dead letters. Empty: those that are none.")] = None
    label: Annotated[Texts | None, Meta(description="Labels as `name=value`; all of them must be there.")] = None
    enqueued_after: Annotated[Moment | None, Meta(description="RFC 3339, as all times.")] = None
    enqueued_before: Moment | None = None
    started_after: Moment | None = None
    started_before: Moment | None = None
    finished_after: Moment | None = None
    finished_before: Moment | None = None
    heartbeat_after: Moment | None = None
    heartbeat_before: Moment | None = None
    cancel_requested: Annotated[bool | None, Meta(description="Whether somebody wished them cancelled.")] = None
    consumed: Annotated[bool | None, Meta(description="Whether their owners have seen their ends.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.FIND_MAX, description="Tasks of one page.")] = 100
    after: Annotated[Text | None, Meta(description="`next` of the page before.")] = None


class Waiting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of a request that waits for an end."""

    timeout_s: Annotated[float, Meta(ge=0, le=times.AWAIT_MAX_S, description="How long to wait, in seconds.")] = 30.0


class Cancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The wish that a task ends, and with `cascade` its descendants."""

    why: Annotated[str, Meta(max_length=limits.WHY_MAX)] = ""
    cascade: bool = False


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The wish that a dead letter runs again."""

    why: Annotated[str, Meta(max_length=limits.WHY_MAX)] = ""


class Remark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody says of a task."""

    text: Annotated[str, Meta(min_length=1, max_length=limits.COMMENT_MAX)]


_SEVERAL: Final = ("id", "state", "actor", "owner", "tenant", "worker", "parent", "root", "join", "reason")
_REPEATED: Final = frozenset({*_SEVERAL, "label"})
_LIKE_FILTER: Final = tuple(name for name in Listing.__struct_fields__ if name in Filter.__struct_fields__)
T = TypeVar("T")


def query_of(text: bytes, kind: type[T]) -> T:
    """The parameters of a query string; raises UsageError."""
    if len(text) > limits.WEB_QUERY_MAX:
        raise UsageError(f"the query has {len(text)} bytes; {limits.WEB_QUERY_MAX} are the most")
    given: dict[str, Any] = {}
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise UsageError("the query is not URL-encoded UTF-8") from None
    for name, value in pairs:
        if kind is Listing and name in _REPEATED:
            given.setdefault(name, []).append(value)
        elif name in given:
            raise UsageError(f"the parameter {name} is given twice")
        else:
            given[name] = value
    return _converted({name: [] if value == [""] else value for name, value in given.items()}, kind, strict=False)


def body_of(body: bytes, kind: type[T]) -> T:
    """What a body says, nothing being an empty object; raises UsageError."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the body is no such object: {error}") from None


def filter_of(listing: Listing) -> Filter:
    """The filter that a listing asks for."""
    several = {f"{name}s": getattr(listing, name) for name in _SEVERAL}
    alike = {name: _seconds(getattr(listing, name)) for name in _LIKE_FILTER}
    return Filter(**several, **alike, labels=labels_of(listing.label) if listing.label else None)


def place_of(text: str | None) -> Place | None:
    """Where a page begins, as `next` of the one before told; raises UsageError."""
    if text is None:
        return None
    at, _, task_id = text.partition("~")
    try:
        seconds = float(at)
    except ValueError:
        seconds = -1.0
    if not (0 <= seconds < limits.TIME_END and 0 < len(task_id) <= limits.ID_MAX and task_id.isascii()):
        raise UsageError("after is not what `next` of a page said")
    return Place(seconds, task_id)


def next_of(place: Place | None) -> str | None:
    """The same as text."""
    return None if place is None else f"{place.enqueued_at!r}~{place.id}"


def _seconds(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


def _converted(given: Any, kind: type[T], *, strict: bool) -> T:
    try:
        return msgspec.convert(given, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise UsageError(f"the parameters cannot be: {error}") from None
