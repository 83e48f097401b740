"""What a service publishes, made into an event: checked whole before anything is sent."""

import os
from typing import Any

import msgspec

from natsume.actors.fields import one_line, to_json
from natsume.exceptions import UsageError
from natsume.model import limits
from natsume.model.codec import clean
from natsume.model.event import Envelope, is_type


def event_of(event_type: str, data: Any, event_id: str | None, source: str | None, now: float) -> Envelope:
    """The event as it travels, with an id of 128 random bits unless it has its own; raises UsageError."""
    if not is_type(event_type):
        raise UsageError(
            f"{event_type!r} is no type of an event: use letters, digits, '-' and '_', with dots between, at most"
            f" {limits.EVENT_TYPE_MAX} characters"
        )
    for value, what in ((event_id, "id"), (source, "source")):
        if value is not None:
            _check_text(value, f"the {what} of event {event_type}")
    try:
        body = to_json(data)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise UsageError(f"the data of event {event_type} cannot be written as JSON: {one_line(error)}") from None
    if len(body) > limits.ARGUMENTS_MAX:
        raise UsageError(
            f"the data of event {event_type} has {len(body)} bytes, more than {limits.ARGUMENTS_MAX}:"
            " keep large data elsewhere and publish its name"
        )
    # An id of the caller's own may have been published before: its tasks are looked up before they run.
    return Envelope(event_type, event_id or os.urandom(16).hex(), body, now, source, resent=event_id is not None)


def _check_text(value: object, what: str) -> None:
    if not isinstance(value, str):
        raise UsageError(f"{what} is {value!r}: give a text")
    try:
        clean(value, what)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not value.strip():
        raise UsageError(f"{what} is empty")
