"""What may be asked of the ledger at once, and what its answer looks like beside what the broker knows by now."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from math import isfinite

from msgspec.structs import replace

from natsume.core.rights import Act, Who, may
from natsume.exceptions import UsageError
from natsume.model import limits
from natsume.model.ledger import Filter, Row
from natsume.model.record import Done


def check(wanted: Filter, count: int) -> None:
    """Raise UsageError for a filter that asks for too much, or for what cannot be."""
    if not 1 <= count <= limits.FIND_MAX:
        raise UsageError(f"a page has 1 to {limits.FIND_MAX} tasks, not {count}")
    flaw = next(_flaws(wanted), None)
    if flaw is not None:
        raise UsageError(f"the filter's {flaw}")


def _flaws(wanted: Filter) -> Iterator[str]:
    for field in wanted.__struct_fields__:
        value = getattr(wanted, field)
        if isinstance(value, float | int) and not isinstance(value, bool):
            if not (isfinite(value) and 0 <= value < limits.TIME_END):
                yield f"{field} is {value!r}: give Unix seconds of the years 1970 to 9999"
        elif isinstance(value, tuple):
            if len(value) > limits.FILTER_VALUES_MAX:
                yield f"{field} has {len(value)} values; {limits.FILTER_VALUES_MAX} are the most"
            yield from _texts(field, value)
        elif isinstance(value, dict):
            if len(value) > limits.LABELS_MAX:
                yield f"{field} has {len(value)} pairs; {limits.LABELS_MAX} are the most"
            yield from _texts(field, chain(*value.items()))


def _texts(field: str, texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if len(text) > limits.HEADER_VALUE_MAX:
            yield f"{field} has a value of {len(text)} characters; {limits.HEADER_VALUE_MAX} are the most"
        elif any("\ud800" <= one <= "\udfff" for one in text):
            yield f"{field} has a value that is no text"


def labels_of(texts: Iterable[str]) -> dict[str, str]:
    """Labels that are written `name=value`; raises UsageError."""
    pairs = [text.partition("=") for text in texts]
    wrong = [name for name, sign, _ in pairs if not (name and sign)]
    if wrong:
        raise UsageError(f"a label is written name=value, not {wrong[0]!r}")
    labels = {name: value for name, _, value in pairs}
    if len(labels) < len(pairs):
        raise UsageError("a label is asked for with two values, of which a task has one")
    return labels


def shown(rows: Iterable[Row], ends: Mapping[str, Done], wanted: Filter, who: Who) -> list[Row]:
    """The rows as they are now that these tasks have ended; without those that the filter no longer means."""
    now = [_ended(row, ends[row.id]) if row.id in ends else row for row in rows]
    return [
        row
        for row in now
        if (wanted.states is None or row.state in wanted.states) and may(who, Act.SEE, row.owner, row.tenant)
    ]


def _ended(row: Row, done: Done) -> Row:
    return replace(
        row,
        state=done.state,
        attempts=done.attempts,
        started_at=done.started_at if done.ran else row.started_at,
        finished_at=done.finished_at,
        heartbeat_at=done.finished_at,
        worker=done.worker,
        error=done.failure.type if done.failure else None,
        reason=str(done.letter.reason) if done.letter else None,
    )
