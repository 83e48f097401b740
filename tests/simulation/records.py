"""The simulated RECORDS stream: one message per subject, fences, a time to live."""

import msgspec

from natsume.model import subject, times
from natsume.model.record import Done, Failed, History, Started

START = 1_000_000.0
_KINDS = ("plain", "effects", "dead")


class Stored(msgspec.Struct):
    """The one message of a subject in RECORDS."""

    sequence: int
    record: Done | Failed | Started
    until: float | None = None


class Records:
    """The facts of tasks, and the broker's clock."""

    def __init__(self, *, done_is_fenced: bool) -> None:
        self.now = START
        self.records: dict[str, Stored] = {}
        self._last_record = 0
        self._done_is_fenced = done_is_fenced

    def commit(self, record: Done) -> bool:
        """Write the done record under the fence over all classes; whether it was written."""
        if self._done_is_fenced and self.done(record.id) is not None:
            return False
        ttl_s = times.PLAIN_TTL_S if record.kind == "plain" else None
        self._write(subject.done(record.kind, record.id), record, ttl_s)
        return True

    def fail(self, record: Failed) -> Failed | None:
        """Write the record of a failed attempt; the one that stands already, or None."""
        name = subject.failed(record.attempt, record.id)
        standing = self._read(name)
        if standing is None:
            self._write(name, record, None)
            return None
        assert isinstance(standing.record, Failed)
        return standing.record

    def start(self, record: Started, expected: int) -> int | None:
        """Write the record of a start over the one with sequence `expected`; its sequence, or None."""
        name = subject.started(record.attempt, record.id)
        standing = self._read(name)
        if (standing.sequence if standing else 0) != expected:
            return None
        return self._write(name, record, times.START_TTL_S)

    def look_up(self, task_id: str, attempt: int) -> History:
        """What stands of a task and attempt."""
        failed = self._read(subject.failed(attempt, task_id))
        started = self._read(subject.started(attempt, task_id))
        return History(
            self.done(task_id),
            failed.record if failed else None,  # type: ignore[arg-type]
            started.record if started else None,  # type: ignore[arg-type]
            started.sequence if started else 0,
        )

    def done(self, task_id: str) -> Done | None:
        """The done record on any class's subject."""
        for kind in _KINDS:
            stored = self._read(subject.done(kind, task_id))
            if stored is not None:
                assert isinstance(stored.record, Done)
                return stored.record
        return None

    def failed(self, task_id: str, attempt: int) -> bool:
        """Whether this attempt's failure stands."""
        return subject.failed(attempt, task_id) in self.records

    def _write(self, name: str, record: Done | Failed | Started, ttl_s: float | None) -> int:
        self._last_record += 1
        until = None if ttl_s is None else self.now + ttl_s
        self.records[name] = Stored(self._last_record, record, until)
        return self._last_record

    def _read(self, name: str) -> Stored | None:
        stored = self.records.get(name)
        if stored is not None and stored.until is not None and stored.until <= self.now:
            del self.records[name]
            return None
        return stored
