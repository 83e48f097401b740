"""Workers as services of the broker's own services API (`nats micro`), and the question who they are.

A worker answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, each also with the service's name and its id behind. Its
endpoints are itself and the actors that it ran. Nothing listens on these endpoints but the lanes: tasks are submitted.
"""

import asyncio
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from natsume.adapters.nats.wire import Wire, status
from natsume.exceptions import BrokerError
from natsume.model import limits
from natsume.model.workers import ActorWork, WorkerState

SERVICE: Final = "natsume-worker"
_VERBS: Final = ("PING", "INFO", "STATS")
_FRESH_S: Final = 0.1
_NOTHING: Final = ActorWork("", "", "")
_UNNAMED: Final = re.compile(r"[^A-Za-z0-9_-]")
_SILENCE_S: Final = 0.3
_PATIENCE_S: Final = 2.0


class WireServices:
    """The workers, over one connection."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._said: dict[str, tuple[float, bytes]] = {}

    def answer(self, nonce: str, state: Callable[[], WorkerState]) -> None:
        """Answer for the worker of this nonce, as long as the connection stands; once in 0.1 s it looks anew."""
        for verb in _VERBS:
            for place in ("", f".{SERVICE}", f".{SERVICE}.{nonce}"):
                self._wire.listen(f"$SRV.{verb}{place}", self._replying(verb, state))

    async def ask_all(self) -> tuple[list[WorkerState], int]:
        """All workers that answer within a moment of each other, and how many answers could not be read."""
        answers: list[bytes] = []
        came = asyncio.Event()

        def take(_subject: bytes, _reply: bytes, body: bytes, headers: bytes | None) -> None:
            if status(headers) or len(answers) >= limits.WORKERS_ASKED_MAX:
                nobody.set()
            else:
                answers.append(body)
            came.set()

        nobody, inbox = asyncio.Event(), self._wire.new_inbox()
        route = self._wire.listen(inbox, take)
        try:
            self._wire.send(f"$SRV.STATS.{SERVICE}".encode(), inbox.encode(), b"", b"")
            wait_s = _PATIENCE_S
            while not nobody.is_set():
                async with asyncio.timeout(wait_s):
                    await came.wait()
                came.clear()
                wait_s = _SILENCE_S
        except TimeoutError:
            pass  # whoever has not answered by now stands still
        finally:
            self._wire.unlisten(route)
        return _read(answers)

    def _replying(self, verb: str, state: Callable[[], WorkerState]) -> Callable[..., None]:
        def reply(_subject: bytes, inbox: bytes, _body: bytes, _headers: bytes | None) -> None:
            if not inbox:
                return
            said_at, body = self._said.get(verb, (0.0, b""))
            if not body or time.monotonic() - said_at > _FRESH_S:
                body = msgspec.json.encode(_ANSWERS[verb](state()))
                self._said[verb] = (time.monotonic(), body)
            try:
                self._wire.send(inbox, b"", b"", body)
            except BrokerError:
                return  # who asked has lost the connection as well, or asks again

        return reply


def _identity(kind: str, state: WorkerState) -> dict[str, Any]:
    return {
        "type": f"io.nats.micro.v1.{kind}_response",
        "name": SERVICE,
        "id": state.id,
        "version": state.version,
        "metadata": {
            "worker": state.worker,
            "host": state.host,
            "pid": str(state.pid),
            "size": state.size,
            "slots": str(state.slots),
            "busy": str(state.busy),
            "in_hand": str(state.in_hand),
            "state": state.state,
        },
    }


def _ping(state: WorkerState) -> dict[str, Any]:
    return _identity("ping", state)


def _info(state: WorkerState) -> dict[str, Any]:
    blocked = f", its event loop blocked for {state.blocked_s:.0f} s" if state.blocked_s else ""
    stopping = ", stopping" if state.stopping else ""
    said = f"{state.size} worker {state.worker}: {state.busy} of {state.slots} slots busy{stopping}{blocked}"
    endpoints = [
        {"name": name, "subject": one.mailbox, "queue_group": one.consumer, "metadata": {"actor": one.actor}}
        for name, one in _endpoints(state)
    ]
    return _identity("info", state) | {"description": said, "endpoints": [_itself(state), *endpoints]}


def _stats(state: WorkerState) -> dict[str, Any]:
    endpoints = [
        {"name": name, "subject": one.mailbox, "queue_group": one.consumer} | _counted(one)
        for name, one in _endpoints(state)
    ]
    started = datetime.fromtimestamp(state.started, UTC).isoformat().replace("+00:00", "Z")
    itself = _itself(state) | _counted(_NOTHING) | {"data": msgspec.structs.asdict(state) | {"actors": ()}}
    return _identity("stats", state) | {"started": started, "endpoints": [itself, *endpoints]}


def _itself(state: WorkerState) -> dict[str, Any]:
    # In the name, for that is what a table of statistics shows; it counts nothing, so that sums are right.
    name = f"busy-{state.busy}-of-{state.slots}"
    return {"name": name, "subject": f"task.*.{state.size}.>", "queue_group": state.size, "metadata": {}}


def _counted(work: ActorWork) -> dict[str, Any]:
    return {
        "num_requests": work.runs,
        "num_errors": work.failures,
        "last_error": work.last_error,
        "processing_time": round(work.wall_s * 1e9),
        "average_processing_time": round(work.wall_s * 1e9 / work.runs) if work.runs else 0,
        "data": msgspec.structs.asdict(work),
    }


def _endpoints(state: WorkerState) -> list[tuple[str, ActorWork]]:
    """The actors under names that the services API allows."""
    return [(_UNNAMED.sub("-", one.actor), one) for one in state.actors]


_ANSWERS: Final[dict[str, Callable[[WorkerState], dict[str, Any]]]] = {"PING": _ping, "INFO": _info, "STATS": _stats}


class _Endpoint(msgspec.Struct, frozen=True):
    name: str
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Stats(msgspec.Struct, frozen=True):
    endpoints: tuple[_Endpoint, ...]


def _read(answers: list[bytes]) -> tuple[list[WorkerState], int]:
    """The states that the answers hold; those of other makes are counted."""
    states: list[WorkerState] = []
    for answer in answers:
        try:
            first, *others = msgspec.json.decode(answer, type=_Stats).endpoints
            state = msgspec.json.decode(first.data, type=WorkerState)
            actors = tuple(msgspec.json.decode(one.data, type=ActorWork) for one in others)
        except (msgspec.MsgspecError, ValueError):
            continue
        states.append(msgspec.structs.replace(state, actors=actors))
    return sorted(states, key=lambda one: (one.size, one.host, one.pid)), len(answers) - len(states)
