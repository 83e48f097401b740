"""The facts about a task in the RECORDS stream; times are Unix seconds of the broker's clock."""

import hashlib
from enum import StrEnum

import msgspec

from natsume.model.task import Reason, State
from natsume.model.told import Progress


class Failure(msgspec.Struct, frozen=True):
    """What a try of a task raised: the type's name, the message, the traceback."""

    type: str
    message: str
    traceback: str = ""


class Used(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a try of a task took: seconds on the clock, of processors, and bytes of memory at its peak, where known."""

    wall_s: float
    cpu_s: float | None = None
    memory_peak_bytes: int | None = None


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """The place that a unique task is to take: the key of its claim, and for how long if not until it ends."""

    key: str
    period_s: float | None = None


class Child(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task to be submitted once its parent's done record stands; a unique one if its `place` is free.

    `tracked` where its actor wants it; the children of an owned parent are tracked in any case. `rights` says who
    beside operators may cancel or replay it. `takes` names the argument that gets what the one member returned of
    the join whose callback it is.
    """

    id: str
    actor: str
    lane: str
    arguments: msgspec.Raw
    at: float | None = None
    labels: dict[str, str] | None = None
    join: str | None = None
    member: int | None = None
    place: Place | None = None
    tracked: bool = False
    rights: str | None = None
    takes: str | None = None


class When(StrEnum):
    """When a join's callback is due: after all succeeded, or after all ended however."""

    ALL_SUCCEEDED = "all_succeeded"
    ALL_DONE = "all_done"

    @classmethod
    def _missing_(cls, value: object) -> "When | None":
        return cls.__members__.get(value) if isinstance(value, str) else None  # by its name as well


class Group(msgspec.Struct, frozen=True, omit_defaults=True):
    """A join to be opened with its parent's commit: `total` members, numbered from 0.

    The member's ids come from the parent's and the indices from `first` on, so that they need no list. `chained` says
    that its one member is the callback of another join.
    """

    join: str
    total: int
    first: int
    callback: Child
    on_failure: Child | None = None
    when: When = When.ALL_SUCCEEDED
    chained: bool = False


class Letter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A dead letter: why it may not run by itself, and the message as it came.

    `body` is base64 in JSON, so that any bytes are kept as they were.
    """

    reason: Reason
    subject: str
    body: bytes
    headers: str = ""


class Done(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The commit of a task: of these there is at most one per id.

    `nonce` tells the run that wrote it; `result` is the encoded return value; `discarded` marks a
    failure that nothing keeps for replay. Of very many children only the last are in the record itself,
    the others in `chunks` that this run wrote before. `flagged` says that somebody wished it cancelled,
    `comment` what a cancelled task said at its end.
    """

    id: str
    actor: str
    state: State
    nonce: str
    worker: str
    attempt: int
    started_at: float
    finished_at: float
    lane: str = ""
    submitted_at: float | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    children: tuple[Child, ...] = ()
    chunks: int = 0
    groups: tuple[Group, ...] = ()
    waits: int = 0
    tracked: bool = False
    owner: str | None = None
    tenant: str | None = None
    parent: str | None = None
    root: str | None = None
    join: str | None = None
    member: int | None = None
    trace: str | None = None
    labels: dict[str, str] | None = None
    claim: str | None = None
    replay_of: str | None = None
    flagged: bool = False
    progress: Progress | None = None
    used: Used | None = None
    failure: Failure | None = None
    discarded: bool = False
    letter: Letter | None = None
    crashes: int = 0
    comment: str = ""

    @property
    def ran(self) -> bool:
        """Whether its last attempt was begun; that of a task which ends while it waits was not."""
        told = self.state is State.COMPLETED or self.used is not None or self.crashes > 0
        return told or self.finished_at > self.started_at

    @property
    def attempts(self) -> int:
        """How many attempts it has had."""
        return self.attempt if self.ran else max(self.attempt - 1, 0)

    @property
    def kind(self) -> str:
        """The class in its subject: `plain` (nothing follows, it may expire), `effects` or `dead`."""
        if self.letter is not None:
            return "dead"
        follows = self.children or self.chunks or self.groups or self.join or self.tracked or self.owner or self.claim
        return "effects" if follows or self.flagged or self.state is not State.COMPLETED else "plain"


class Chunk(msgspec.Struct, frozen=True):
    """Children of a parent that has not committed yet: inert until its done record names run and count."""

    children: tuple[Child, ...]


class Failed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failed attempt with a successor, due at `next_at` as the hop `next_hop`."""

    id: str
    actor: str
    attempt: int
    failure: Failure
    worker: str
    started_at: float
    failed_at: float
    next_at: float
    next_hop: int
    used: Used | None = None


class Started(msgspec.Struct, frozen=True, omit_defaults=True):
    """The latest start of an attempt; `crashes` counts the marked starts that had no outcome.

    `ended` says that this start was interrupted, and that nothing runs. `half` names those of its batch with which
    it runs next, should this start have no outcome. From `parent` on it says whose task this is, for before its end
    nothing else may.
    """

    id: str
    actor: str
    attempt: int
    worker: str
    at: float
    nonce: str = ""
    crashes: int = 0
    ended: bool = False
    half: str = ""
    parent: str | None = None
    root: str | None = None
    lane: str = ""
    submitted_at: float | None = None
    owner: str | None = None
    tenant: str | None = None


class Submitted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tracked submission, written before its task: the whole message, to be sent again if it is lost.

    `due` is when it is to run, where that is not at once.
    """

    id: str
    actor: str
    at: float
    subject: str
    headers: str
    body: bytes
    due: float | None = None


class Settled(msgspec.Struct, frozen=True, omit_defaults=True):
    """What somebody decided on a dead letter, once: to replay it as `message`, or, without one, to discard it.

    `edited` says that the replay has other arguments, `sent` that it is known to be in the broker.
    """

    id: str
    nonce: str
    who: str
    why: str
    at: float
    message: Submitted | None = None
    edited: bool = False
    sent: bool = False

    @property
    def kind(self) -> str:
        """The class in its subject."""
        return "discarded" if self.message is None else "replayed"

    @property
    def replay(self) -> str | None:
        """The id of the replay."""
        return None if self.message is None else self.message.id


class History(msgspec.Struct, frozen=True):
    """What the records say of one task and attempt; `started_seq` is 0 where no start is recorded."""

    done: Done | None = None
    failed: Failed | None = None
    started: Started | None = None
    started_seq: int = 0


def replay_id(letter_id: str) -> str:
    """The id of a dead letter's one replay, which may become a dead letter in its turn."""
    return child_id(letter_id, "replay")


def child_id(parent_id: str, index: int | str) -> str:
    """The id of a parent's child, the same at every attempt: 32 hex digits."""
    return hashlib.blake2b(f"{parent_id}/{index}".encode(), digest_size=16).hexdigest()
