"""The simulated broker as groups need it: the reactor's consumer on RECORDS, the joins, the chunks.

What it was measured to forget, it forgets: after a crash the consumer's counts and some of its
acknowledgements, and the ids of messages that were acknowledged.
"""

from collections.abc import Callable

import msgspec

from natsume.core.join import Join
from natsume.model import subject
from natsume.model.record import Chunk, Done
from natsume.model.task import Task

from .world import ACK_WAIT_S, Message, Options, World

DUPLICATE_WINDOW_S = 120.0


class GroupOptions(Options, frozen=True):
    """What a planted bug changes about the reactor's use of the broker."""

    joins_are_fenced: bool = True


class Fed(msgspec.Struct):
    """A done record on its way to the reactors; it waits for its acknowledgement until `deadline`."""

    sequence: int
    record: Done
    delivered: int = 0
    deadline: float | None = None


class GroupWorld(World):
    """TASKS, RECORDS with its consumer, and the bucket of joins."""

    def __init__(self, options: Options, say: Callable[[str], None] | None = None) -> None:
        super().__init__(options, say)
        self._joins_are_fenced = not isinstance(options, GroupOptions) or options.joins_are_fenced
        self.feed: dict[int, Fed] = {}
        self.reacted: dict[int, Fed] = {}
        self.joins: dict[str, tuple[Join, int]] = {}
        self.chunks: dict[str, dict[tuple[str, int], Chunk]] = {}
        self.fixed: set[str] = set()
        self.on_stored: Callable[[Task, bool], None]
        self._record_marks: dict[int, int] = {}
        self._stored: dict[str, tuple[int, float]] = {}
        self._last_revision_of_joins = 0

    def commit(self, record: Done) -> bool:
        """Write the done record; where something may follow from it, the reactors get it."""
        written = super().commit(record)
        if written and record.kind != "plain":
            self.feed[self._last_record] = Fed(self._last_record, record)
        return written

    def submit(self, task: Task, *, resent: bool) -> bool:
        """Store a ready task, unless the server knows its message id, which every try carries."""
        message_id = f"{task.id}.{task.hop}"
        _, at = self._stored.get(message_id, (0, -DUPLICATE_WINDOW_S))
        if self.now - at < DUPLICATE_WINDOW_S:
            return False
        copied = self.has_copy(task.id)
        self._stored[message_id] = (self._ready(task, resent=resent).sequence, self.now)
        self.on_stored(task, copied)
        return True

    def arm(self, task: Task, at: float) -> bool:
        """Store a schedule; what it fires is always looked up."""
        armed = super().arm(task, at)
        if armed:
            self.on_stored(task, False)
        return armed

    def has_copy(self, task_id: str) -> bool:
        """Whether a message of this task is in the stream, ready or scheduled."""
        ready = any(message.task.id == task_id for message in self.tasks.values())
        return ready or any(schedule.task.id == task_id for schedule in self.later.values())

    # the consumer of the reactors

    def unread(self) -> list[Fed]:
        """What may be handed to a reactor."""
        return [fed for fed in self.feed.values() if fed.deadline is None or fed.deadline <= self.now]

    def hand_out(self, fed: Fed) -> None:
        """Deliver a record once more."""
        fed.delivered += 1
        fed.deadline = self.now + ACK_WAIT_S

    def acknowledge_record(self, sequence: int) -> None:
        """A reactor is done with it, whoever has it by now."""
        fed = self.feed.pop(sequence, None)
        if fed is not None:
            self.reacted[sequence] = fed

    def extend_record(self, sequence: int) -> None:
        """Start its `ack_wait` anew."""
        fed = self.feed.get(sequence)
        if fed is not None and fed.deadline is not None:
            fed.deadline = self.now + ACK_WAIT_S

    def records_mark(self) -> int:
        """The last record when the first process met this incarnation."""
        return self._record_marks.setdefault(self.incarnation, self._last_record)

    # joins and chunks

    def update_join(self, join: Join, revision: int) -> int | None:
        """Compare and set; the new revision, or None."""
        standing = self.joins.get(join.id)
        if self._joins_are_fenced and (standing[1] if standing else 0) != revision:
            return None
        self._last_revision_of_joins += 1
        self.joins[join.id] = (join, self._last_revision_of_joins)
        return self._last_revision_of_joins

    def write_chunk(self, task_id: str, nonce: str, number: int, chunk: Chunk) -> None:
        """Store a chunk over any of the same number."""
        self.chunks.setdefault(task_id, {})[nonce, number] = chunk

    def replay(self, task: Task) -> None:
        """What an operator does to a dead letter: its records go, its task comes again.

        A mark of its start that stayed would be counted as a crash.
        """
        self.fixed.add(task.id)
        self.records.pop(subject.started(1, task.id), None)
        for kind in ("effects", "dead"):
            stored = self.records.pop(subject.done(kind, task.id), None)
            if stored is not None:
                self.feed.pop(stored.sequence, None)
                self.reacted.pop(stored.sequence, None)
        self.submit(msgspec.structs.replace(task, hop=task.hop + 1), resent=True)

    def crash(self, come_back: Callable[[], bool]) -> list[Message]:
        """Restart: what was acknowledged may come back, with no count, and the ids of what is gone are forgotten."""
        back = super().crash(come_back)
        for sequence in [sequence for sequence in self.reacted if come_back()]:
            self.feed[sequence] = self.reacted.pop(sequence)
        for fed in self.feed.values():
            fed.delivered, fed.deadline = 0, None
        self._stored = {name: known for name, known in self._stored.items() if known[0] in self.tasks}
        return back
