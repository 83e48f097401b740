"""Runs an actor with its dependencies and says what came of it, as an event."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec

from natsume.actors.fields import to_json
from natsume.actors.registry import Actor
from natsume.binding import Locker, bind
from natsume.children import Children
from natsume.control import cut
from natsume.core import events as ev
from natsume.exceptions import CancelHonoured, ResourceLimitExceeded, Snooze, UnretryableError
from natsume.model import limits
from natsume.model.record import Used
from natsume.runtime.failing import raised
from natsume.runtime.in_thread import in_thread
from natsume.runtime.metering import Meter
from natsume.runtime.run import Run
from natsume.telemetry import task_fields

_log = logging.getLogger(__name__)

_NULL = b"null"


Ended = ev.Returned | ev.Raised | ev.Snoozed | ev.Interrupted | ev.Honoured


class Count(Protocol):
    """Learns what came of tries."""

    def __call__(self, actor: Actor, *tries: Ended) -> None:
        """Take tries of one actor that ended."""


async def execute(
    run: Run, children: Children, given: Mapping[type, Any], now: Callable[[], float], locker: Locker | None = None
) -> Ended:
    """Run the actor of a delivery to its end; whatever it raises is an event, never an exception."""
    actor = run.actor
    assert actor is not None
    task = run.delivery.task
    run.started_at = now()
    meter = Meter()
    try:
        with bind(children, locker):
            result = await meter.of(_call(run, actor, given, meter))
    except asyncio.CancelledError as error:
        return _stopped(run, actor, error, now(), meter.used)
    except BaseException as error:  # noqa: BLE001 - also sys.exit() in a task is a failure of the task
        return came_of(run, actor, error, now(), meter.used)
    finally:
        run.running_since = None
        if run.teller is not None:
            run.teller.end()
    if len(result) > limits.RESULT_MAX:
        sentence = f"its result is {len(result)} bytes long; at most {limits.RESULT_MAX} are kept"
        return raised(run, actor, UnretryableError(sentence), now(), meter.used)
    _log.debug("completed %s", task.id)
    return ev.Returned(
        run.started_at,
        now(),
        result,
        children.collected,
        children.groups,
        children.chunks,
        run.progress,
        run.flag is not None,
        meter.used,
    )


def came_of(run: Run, actor: Actor, error: BaseException, at: float, used: Used) -> Ended:
    """What an exception of a task's own is: it gave up, will go on later, or failed."""
    match error:
        case CancelHonoured():
            return _gave_up(run, actor, error, at, used)
        case Snooze():
            return ev.Snoozed(_until(error.until, at), at)
    return raised(run, actor, error, at, used)


async def _call(run: Run, actor: Actor, given: Mapping[type, Any], meter: Meter) -> bytes:
    """The encoded result; what was injected has been closed, so its transactions stand."""
    task = run.delivery.task
    fields = task_fields.set((task.id, actor.name, task.attempt, run.rules.worker))
    run.running_since = asyncio.get_running_loop().time()
    try:
        if actor.plan.empty:
            return encoded(await _running(run, actor, {}, meter), actor)
        async with actor.plan.open(given) as kwargs:
            return encoded(await _running(run, actor, kwargs, meter), actor)
    finally:
        task_fields.reset(fields)


def _running(run: Run, actor: Actor, kwargs: Mapping[str, Any], meter: Meter) -> Awaitable[Any]:
    return in_thread(run, actor, kwargs, meter) if actor.synchronous else run.task.execute(**kwargs)


def encoded(value: object, actor: Actor) -> bytes:
    """A result as JSON; UnretryableError says why it cannot be."""
    if value is None:
        return _NULL
    try:
        return to_json(value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise UnretryableError(
            f"{actor.name}: its result, a {type(value).__name__}, cannot be written as JSON ({error}); "
            "return a dict, a list, a struct or None"
        ) from error


def _gave_up(run: Run, actor: Actor, honoured: CancelHonoured, at: float, used: Used) -> Ended:
    """Tell who was cancelled from who makes way for a shutdown; nobody else has anything to honour."""
    if run.flag is not None:
        return ev.Honoured(run.started_at, at, run.flag, cut(honoured.comment), run.progress, used)
    if run.stopping:
        return ev.Interrupted(run.started_at, at)
    nobody = UnretryableError(f"{actor.name} raised CancelHonoured, but nobody has cancelled it")
    return raised(run, actor, nobody, at, used)


def _stopped(run: Run, actor: Actor, error: BaseException, at: float, used: Used) -> Ended:
    """Tell a stop that we ordered from a cancellation that the task made itself."""
    cause, run.interrupted_by = run.interrupted_by, None
    if cause is None:
        return raised(run, actor, error, at, used)
    driver = asyncio.current_task()
    assert driver is not None
    while driver.cancelling():
        driver.uncancel()
    if cause == "timeout":
        late = ResourceLimitExceeded(actor.name, "timeout_s", actor.timeout_s, used.wall_s)
        return raised(run, actor, late, at, used)
    if cause == "cancel" and run.flag is not None:
        return ev.Honoured(run.started_at, at, run.flag, "it was interrupted", run.progress, used)
    return ev.Interrupted(run.started_at, at)


def _until(until: float | timedelta | datetime, now: float) -> float:
    if isinstance(until, datetime):
        return until.timestamp()
    return now + (until.total_seconds() if isinstance(until, timedelta) else float(until))
