"""Schedules and their ticks by name: keys, ids, and what of a schedule lies in the broker."""

import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from natsume.model import subject

_DUE = "%Y%m%dT%H%M%SZ"
_ID = re.compile(r"([A-Za-z0-9_=-]+-[0-9a-f]{16})-([0-9]{8}T[0-9]{6}Z)")
_NAME_MAX = 48

DEFAULT = "default"
"""The instance that a class's own schedule makes."""


class ScheduleKey(msgspec.Struct, frozen=True, order=True):
    """One schedule: an actor, the name of the instance, and the VO where the actor has one task per VO."""

    actor: str
    instance: str = DEFAULT
    vo: str | None = None

    @property
    def name(self) -> str:
        """The schedule as people write it: `group:Name/instance`, with `/vo` where there is one."""
        return "/".join((self.actor, self.instance, *(() if self.vo is None else (self.vo,))))

    @property
    def id(self) -> str:
        """The schedule as it stands in its ticks' ids and in keys of buckets."""
        return _id(self)

    def tick(self, due: datetime) -> str:
        """The id of the task that is due then: whoever sends it, however often, it is one task."""
        return f"{self.id}-{due.astimezone(UTC):{_DUE}}"

    def subject(self, due: datetime | None = None) -> str:
        """Where it lies in TASKS; one that the server cannot repeat lies there for one occurrence."""
        instance = self.instance if due is None else f"{self.instance}@{due.astimezone(UTC):{_DUE}}"
        return subject.cron(self.actor, instance, self.vo)


class Entry(msgspec.Struct, frozen=True):
    """A schedule as it is to lie in the broker.

    `text` is the schedule itself, `target` the subject of its tasks; `due` is the one occurrence of what
    the server cannot repeat; `generation` is when the process started that armed it, and `configured` when the
    tasks file that it knew was applied, in Unix seconds.
    """

    key: ScheduleKey
    text: str
    target: str
    body: bytes
    generation: float
    due: datetime | None = None
    configured: float = 0.0

    @property
    def subject(self) -> str:
        """Where it lies."""
        return self.key.subject(self.due)

    def same_as(self, other: "Entry") -> bool:
        """Whether both make the same tasks at the same times, whoever armed them."""
        return (self.key, self.text, self.target, self.body) == (other.key, other.text, other.target, other.body)


class Present(msgspec.Struct, frozen=True):
    """A schedule in the broker; `entry` is None if it is not one of ours. `at` is when it was stored."""

    subject: str
    sequence: int
    at: float
    entry: Entry | None = None


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a schedule beside its entry: paused by whom, or removed by which generation.

    `configured` is when the tasks file was applied that this one knew.
    """

    paused_by: str | None = None
    paused_at: float | None = None
    removed: float = 0.0
    configured: float = 0.0


class Ran(msgspec.Struct, frozen=True):
    """The latest start of a schedule's tick."""

    tick: str
    at: float


def parse_subject(text: str) -> tuple[ScheduleKey, datetime | None]:
    """The schedule at a subject of TASKS, and its occurrence if it is for one; ValueError if it is none."""
    actor, instance, vo = subject.parse_cron(text)
    name, at, due = instance.rpartition("@")
    if not at:
        return ScheduleKey(actor, instance, vo), None
    return ScheduleKey(actor, name, vo), datetime.strptime(due, _DUE).replace(tzinfo=UTC)


def parse_id(task_id: str) -> tuple[str, datetime] | None:
    """The schedule's id and the due time in a tick's id; None if it is no tick's."""
    found = _ID.fullmatch(task_id)
    if found is None:
        return None
    try:
        return found[1], datetime.strptime(found[2], _DUE).replace(tzinfo=UTC)
    except ValueError:
        return None


def ids_since(schedule: str, since: float) -> tuple[str, str]:
    """The first id that a tick of a schedule due since then (Unix seconds) may have, and what follows its last."""
    return f"{schedule}-{datetime.fromtimestamp(since, UTC):{_DUE}}", f"{schedule}-:"


@lru_cache(maxsize=1024)
def _id(key: ScheduleKey) -> str:
    name = subject.encode(key.actor.partition(":")[2])[:_NAME_MAX]
    parts = [key.actor, key.instance, *([] if key.vo is None else [key.vo])]
    return f"{name}-{hashlib.blake2b(msgspec.json.encode(parts), digest_size=8).hexdigest()}"
