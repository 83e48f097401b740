"""Names in the broker: the only place that builds or parses a subject or a key.

Every token that comes from outside is encoded reversibly: letters, digits, `-` and `_` stand for
themselves, any other byte of its UTF-8 form is `=` and two hex digits, an empty token is `=`.
The alphabet is legal both in a subject's token and in a key of a bucket.
"""

import hashlib
import re
from functools import lru_cache
from typing import Self

from natsume.enums import Priority, Size

TASKS = "TASKS"
RECORDS = "RECORDS"
EVENTS = "EVENTS"

_SAFE = re.compile(r"[A-Za-z0-9_-]+")
_ID = re.compile(r"[A-Za-z0-9_=-]+")
_RUN = re.compile(r"([0-9a-f]{1,32})-[0-9a-f]{1,16}")
_UNSAFE_BYTE = re.compile(rb"[^A-Za-z0-9_-]")
_ESCAPE = re.compile(rb"=([0-9A-F]{2})")
_ACTOR_TOKENS = 5
_CRON_TOKENS = 4
_UNDERSCORE = "=5F"  # a VO of this name; alone it stands for none


class Lane(str):
    """One of the nine, a priority and a size, as it stands in subjects: `normal.small`.

    A string, so that it is hashed and compared as fast as one on the way of every task.
    """

    __slots__ = ()

    def __new__(cls, priority: Priority, size: Size) -> Self:
        """The lane of a priority and a size."""
        return super().__new__(cls, f"{priority.value}.{size.value}")

    @property
    def priority(self) -> Priority:
        """How urgent its tasks are."""
        return Priority(self.partition(".")[0])

    @property
    def size(self) -> Size:
        """How heavy its tasks are."""
        return Size(self.partition(".")[2])

    @property
    def consumer(self) -> str:
        """The name of its durable consumer on TASKS."""
        return self.replace(".", "-")

    @property
    def filter(self) -> str:
        """The subjects that its consumer takes."""
        return f"task.{self}.>"


LANES = tuple(Lane(priority, size) for size in Size for priority in Priority)
_LANES = {str(lane): lane for lane in LANES}


def encode(text: str) -> str:
    """One token that `decode` turns back into `text`."""
    if _SAFE.fullmatch(text):
        return text
    raw = _UNSAFE_BYTE.sub(lambda found: b"=%02X" % found[0][0], text.encode())
    return raw.decode() or "="


def decode(token: str) -> str:
    """The text that `encode` was given; ValueError if no text has this token."""
    if _SAFE.fullmatch(token):
        return token
    text = "" if token == "=" else _ESCAPE.sub(lambda hit: bytes([int(hit[1], 16)]), token.encode()).decode()
    if encode(text) != token:
        raise ValueError(f"the token {token!r} is not one that Natsume writes")
    return text


def is_id(text: object) -> bool:
    """Whether a task may have this id: letters, digits, `-`, `_` and `=`, as it stands in subjects."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def ready(lane: Lane, actor: str) -> str:
    """Where a task of `actor` (`group:Name`) lies until a worker takes it."""
    group, _, name = actor.partition(":")
    return f"task.{lane}.{encode(group)}.{encode(name)}"


def parse_lane(text: str) -> Lane:
    """The lane that `str` wrote; ValueError if there is none of this name."""
    lane = _LANES.get(text)
    if lane is None:
        raise ValueError(f"there is no lane {text!r}")
    return lane


def parse_ready(subject: str) -> tuple[Lane, str | None]:
    """The lane of a message in TASKS and its actor, or None for the actor if the subject names none."""
    tokens = subject.split(".")
    lane = _LANES[f"{tokens[1]}.{tokens[2]}"]
    if len(tokens) != _ACTOR_TOKENS:
        return lane, None
    try:
        return lane, f"{decode(tokens[3])}:{decode(tokens[4])}"
    except ValueError:
        return lane, None


def later(task_id: str, hop: int) -> str:
    """Where the schedule of a task's hop lies: a delay, a retry or a wait."""
    return f"later.{task_id}.{hop}"


def parked(key: str, rank: str, task_id: str, hop: int) -> str:
    """Where a task waits for the lock with this key; the more urgent rank goes first, and in it who came first."""
    return f"parked.{line(key)}.{rank}.{task_id}.{hop}"


def parked_filter(key: str, rank: str = "*") -> str:
    """All that wait for a lock, or those of one rank."""
    return f"parked.{line(key)}.{rank}.*.*"


def line(key: str) -> str:
    """The token of a lock's line in its subjects."""
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


def done(kind: str, task_id: str) -> str:
    """Where a done record lies; `kind` is its class: `plain`, `effects` or `dead`."""
    return f"record.done.{kind}.{task_id}"


def done_fence(task_id: str) -> str:
    """All subjects of which one may hold the done record of this task."""
    return f"record.done.*.{task_id}"


def failed(attempt: int, task_id: str) -> str:
    """Where the record of a failed attempt lies."""
    return f"record.failed.{attempt}.{task_id}"


def started(attempt: int, task_id: str) -> str:
    """Where the record of the latest start of an attempt lies."""
    return f"record.started.{attempt}.{task_id}"


def chunk(nonce: str, number: int, task_id: str) -> str:
    """Where a chunk of a parent's children lies, by the run that wrote it."""
    return f"record.chunk.{nonce}-{number}.{task_id}"


def chunk_filter(task_id: str) -> str:
    """The chunks of all runs of a task."""
    return f"record.chunk.*.{task_id}"


def submitted(task_id: str) -> str:
    """Where the record of a tracked submission lies."""
    return f"record.submitted.task.{task_id}"


def progress(task_id: str) -> str:
    """Where the latest progress of a task lies."""
    return f"record.progress.task.{task_id}"


def heartbeat(task_id: str) -> str:
    """Where the latest heartbeat of a task lies."""
    return f"record.heartbeat.task.{task_id}"


def comment(key: str, task_id: str) -> str:
    """Where one comment on a task lies."""
    return f"record.comment.{key}.{task_id}"


def flagged(task_id: str) -> str:
    """Where it is recorded that somebody wished a task cancelled."""
    return f"record.cancel.task.{task_id}"


def all_of(task_id: str) -> str:
    """All records of a task."""
    return f"record.*.*.{task_id}"


def settled(kind: str, task_id: str) -> str:
    """Where it lies what was decided on a dead letter; `kind` is `replayed` or `discarded`."""
    return f"record.settled.{kind}.{task_id}"


def settled_fence(task_id: str) -> str:
    """All subjects of which one may hold what was decided on this dead letter."""
    return f"record.settled.*.{task_id}"


def released(revision: int, task_id: str) -> str:
    """Where it is recorded that the lease of this revision was released by hand."""
    return f"record.released.{revision}.{task_id}"


def event(event_type: str) -> str:
    """Where the events of a type lie, or those of a pattern."""
    return f"event.{event_type}"


def event_consumer(actor: str) -> str:
    """The durable consumer on EVENTS that an actor's tasks come from."""
    return encode(actor)


def cron(actor: str, instance: str, vo: str | None) -> str:
    """Where the schedule of an actor's instance lies, for one VO or none."""
    group, _, name = actor.partition(":")
    tokens = (group, name, instance)
    return ".".join(("cron", *map(encode, tokens), "_" if vo is None else _UNDERSCORE if vo == "_" else encode(vo)))


def parse_cron(subject: str) -> tuple[str, str, str | None]:
    """The actor, the instance and the VO that `cron` was given; ValueError if it has written no such subject."""
    kind, *tokens = subject.split(".")
    if kind != "cron" or len(tokens) != _CRON_TOKENS:
        raise ValueError(f"{subject!r} is not where a schedule lies")
    group, name, instance = map(decode, tokens[:3])
    vo = tokens[3]
    return f"{group}:{name}", instance, None if vo == "_" else "_" if vo == _UNDERSCORE else decode(vo)


def lock_key(object_type: str, *keys: str) -> str:
    """The key of a lock in its bucket: object type and keys, in order."""
    return ".".join(encode(part) for part in (object_type, *keys))


def lock_name(key: str) -> str:
    """The name for people of the lock with this key; ValueError if `lock_key` has written no such key."""
    return ":".join(map(decode, key.split(".")))


def kv(bucket: str, key: str) -> str:
    """The subject of a bucket's key."""
    return f"$KV.{bucket}.{key}"


def worker(nonce: str) -> str:
    """Where a worker answers whether one of its runs goes on."""
    return f"natsume.worker.{nonce}"


def worker_of(run: str) -> str | None:
    """Where the worker of a run answers: a run's nonce is its worker's and a count; None of what is no such nonce."""
    found = _RUN.fullmatch(run)
    return worker(found[1]) if found else None
