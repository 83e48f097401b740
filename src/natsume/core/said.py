"""What the readers of records share: what a record says, where that stands among other facts, and what fits a row."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final, overload

import msgspec

from natsume.core.join import Join
from natsume.model import limits
from natsume.model.ledger import Attempt, Comment, Row
from natsume.model.record import Used

_TENTHS: Final = 10
_TENTHS_MAX: Final = (1 << 36) - 1
_ATTEMPT_MAX: Final = (1 << 24) - 1


class Said(msgspec.Struct, frozen=True):
    """What one record changes."""

    rows: Sequence[Row]
    attempt: Attempt | None = None
    joins: Sequence[Join] = ()
    comments: Sequence[Comment] = ()


def step(attempt: int, at: float, *, failed: bool = False, ended: bool = False) -> int:
    """Where a fact about an unfinished task stands among the others: attempt, its failure, time, its interruption."""
    tenths = min(max(int(at * _TENTHS), 0), _TENTHS_MAX)
    return min(attempt, _ATTEMPT_MAX) << 38 | failed << 37 | tenths << 1 | ended


def checked(record: Any, task_id: str) -> Any:
    """The record, if it is of the task that its subject names."""
    if record.id != task_id or len(task_id) > limits.ID_MAX:
        raise ValueError("the record is not of the task that its subject names")
    return record


def moment(at: float) -> float:
    """A time that can be written; what lies outside becomes the nearest one."""
    return min(max(at, 0.0), limits.TIME_END - 1)


@overload
def fitted(name: str) -> str: ...
@overload
def fitted(name: str | None) -> str | None: ...
def fitted(name: str | None) -> str | None:
    """A name as the ledger keeps it, and as it is to be asked for: of a long one its beginning and a hash."""
    if name is None or len(name) <= limits.LEDGER_NAME_MAX:
        return name
    mark = "~" + hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    return name[: limits.LEDGER_NAME_MAX - len(mark)] + mark


def reference(task_id: str | None) -> str | None:
    """Another task's id, unless no task can have it."""
    return task_id if task_id is None or len(task_id) <= limits.ID_MAX else None


def used_of(used: Used | None) -> dict[str, Any]:
    """The fields of a row that hold what a try took."""
    return {} if used is None else {"cpu_s": used.cpu_s, "memory_peak_bytes": used.memory_peak_bytes}


def labels_of(labels: dict[str, str] | None) -> str | None:
    """Labels as text; None where there are none."""
    return msgspec.json.encode(labels).decode() if labels else None


def message_of(name: str, headers: str, body: bytes) -> dict[str, Any]:
    """A message as it came: its body is the arguments where it is text, and kept as bytes where it is not."""
    try:
        return {"subject": name, "headers": headers, "arguments": body.decode()}
    except UnicodeDecodeError:
        return {"subject": name, "headers": headers, "body": body}
