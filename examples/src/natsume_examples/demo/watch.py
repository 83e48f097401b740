"""Follows the records as they are written, for the live log and for knowing when to go on."""

import asyncio
from collections.abc import Mapping

import msgspec

from natsume.adapters.nats.broker import Broker
from natsume.model.record import Done, Failed, Started
from natsume_examples.demo.log import Log
from natsume_examples.demo.plan import Planned

_SHORT = 6


class Watch:
    """What the records have told so far."""

    def __init__(self, broker: Broker, log: Log, submitted: Mapping[str, Planned]) -> None:
        self.letters: dict[str, str] = {}
        self.ended: set[str] = set()
        self.runs_on: dict[str, str] = {}
        self.interrupted: frozenset[str] = frozenset()
        self.changed = asyncio.Event()
        self._log = log
        self._submitted = submitted
        broker.wire.listen("record.>", self._on_record)

    def running(self, worker: str) -> frozenset[str]:
        """The tasks whose start a worker has recorded and that have not ended."""
        return frozenset(task_id for task_id, name in self.runs_on.items() if name == worker) - self.ended

    def label(self, task_id: str) -> str:
        """A task as the log names it."""
        planned = self._submitted.get(task_id)
        return f"{task_id[:_SHORT]} {planned.label if planned else ''}".rstrip()

    def _on_record(self, subject: bytes, _reply: bytes, body: bytes, _headers: bytes | None) -> None:
        kind = subject.split(b".")[1]
        if kind == b"done":
            self._on_done(msgspec.json.decode(body, type=Done))
        elif kind == b"failed":
            self._on_failed(msgspec.json.decode(body, type=Failed))
        elif kind == b"started":
            self._on_started(msgspec.json.decode(body, type=Started))
        self.changed.set()

    def _on_done(self, done: Done) -> None:
        if done.id in self.ended:
            return
        self.ended.add(done.id)
        if done.id in self.interrupted:
            self._log.line("recovered", f"{self.label(done.id)} ended {done.state} on {self._letter(done.worker)}")
        elif done.failure is None:
            self._log.completed(self._letter(done.worker))
        elif done.letter is None:
            self._log.line("failed", f"{self.label(done.id)}: {done.failure.type}: {done.failure.message}")
        else:
            why = f"dead letter, {done.letter.reason}: {done.failure.message}"
            self._log.line("dead", f"{self.label(done.id)}: {why}")

    def _on_failed(self, failed: Failed) -> None:
        self.runs_on.pop(failed.id, None)
        wait_s = failed.next_at - failed.failed_at
        why = f"attempt {failed.attempt} failed, {failed.failure.type}"
        self._log.line("retry", f"{self.label(failed.id)}: {why}; again in {wait_s:.1f} s")

    def _on_started(self, started: Started) -> None:
        self.runs_on[started.id] = started.worker
        if started.id in self.interrupted:
            self._log.line("again", f"{self.label(started.id)} starts again, on {self._letter(started.worker)}")

    def _letter(self, worker: str) -> str:
        return self.letters.get(worker, worker)
