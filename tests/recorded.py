"""Records as they lie in the broker: subject and body."""

from typing import Any

import msgspec

from natsume.model.record import Done, Failed, Failure, Settled, Started, Submitted, Used
from natsume.model.task import State
from natsume.model.told import Commented, Flag, Heartbeat, Progress, Progressed

encode = msgspec.json.encode


def submitted(task: str = "t", at: float = 10.0) -> tuple[str, bytes]:
    headers = f'ce-id: {task}\r\nNatsume-Owner: ada\r\nNatsume-Tenant: lhcb\r\nNatsume-Labels: {{"a":"b"}}\r\n'
    record = Submitted(task, "g:A", at, "task.normal.small.g.A", headers, b'{"x":1}')
    return f"record.submitted.task.{task}", encode(record)


def started(
    attempt: int = 1, at: float = 11.0, *, ended: bool = False, crashes: int = 0, **whose: Any
) -> tuple[str, bytes]:
    return f"record.started.{attempt}.t", encode(Started("t", "g:A", attempt, "w", at, "n", crashes, ended, **whose))


def failed(attempt: int = 1, at: float = 12.0, used: Used | None = None) -> tuple[str, bytes]:
    record = Failed("t", "g:A", attempt, Failure("E", "no", "trace"), "w", at - 1, at, at + 5, attempt, used)
    return f"record.failed.{attempt}.t", encode(record)


def done(task: str = "t", state: State = State.COMPLETED, attempt: int = 1, **more: object) -> tuple[str, bytes]:
    fields = {"started_at": 90.0, "finished_at": 91.0, "lane": "normal.small", "submitted_at": 10.0} | more
    record = Done(task, "g:A", state, "n", "w2", attempt, **fields)
    return f"record.done.{record.kind}.{task}", encode(record)


def settled(task: str = "t", *, replayed: bool = True, at: float = 95.0, sent: bool = True) -> tuple[str, bytes]:
    message = Submitted("replay", "g:A", at, "task.normal.small.g.A", "", b"{}") if replayed else None
    record = Settled(task, "n", "ada", "mended", at, message, sent=sent)
    return f"record.settled.{record.kind}.{task}", encode(record)


def progressed(attempt: int = 1, at: float = 11.5, done: float = 1.0) -> tuple[str, bytes]:
    return "record.progress.task.t", encode(Progressed("t", "g:A", attempt, "w", at, Progress(done, 4.0, "half")))


def heartbeat(attempt: int = 1, at: float = 11.6) -> tuple[str, bytes]:
    return "record.heartbeat.task.t", encode(Heartbeat("t", "g:A", attempt, "w", at))


def commented(key: str = "k", at: float = 11.7) -> tuple[str, bytes]:
    return f"record.comment.{key}.t", encode(Commented("t", key, "ada", at, "look at this"))


def flagged(at: float = 11.8) -> tuple[str, bytes]:
    return "record.cancel.task.t", encode(Flag("t", "ada", at, "too slow"))
