"""Waiting for facts: each wait ends as soon as the fact is there, or says what it saw last."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

if TYPE_CHECKING:  # a pytest run that uses no fixture of ours must not pay for these
    from collections.abc import Awaitable, Callable

    from natsume.adapters.nats.broker import Broker
    from natsume.client import Client
    from natsume.model.record import Done

T = TypeVar("T")

_PAUSE_FIRST_S: Final = 0.001
_PAUSE_LAST_S: Final = 0.05


@overload
async def until(
    look: Callable[[], Awaitable[T]],
    accept: Callable[[T], object] = ...,
    *,
    within_s: float = ...,
    changed: asyncio.Event | None = ...,
) -> T: ...
@overload
async def until(
    look: Callable[[], T],
    accept: Callable[[T], object] = ...,
    *,
    within_s: float = ...,
    changed: asyncio.Event | None = ...,
) -> T: ...
async def until(
    look: Callable[[], Any],
    accept: Callable[[Any], object] = bool,
    *,
    within_s: float = 30.0,
    changed: asyncio.Event | None = None,
) -> Any:
    """What `look` (a function or coroutine function) gives, as soon as `accept` agrees; else AssertionError.

    It looks again when `changed` is set, and else after short, growing pauses. An AssertionError of
    `look` or `accept` means: not yet.
    """
    loop = asyncio.get_running_loop()
    deadline, pause_s, seen = loop.time() + within_s, _PAUSE_FIRST_S, ""
    while True:
        try:
            found = look()
            value = await found if inspect.isawaitable(found) else found
            seen = repr(value)
            if accept(value):
                return value
        except AssertionError as error:
            seen = seen if not str(error) else f"{seen} ({error})".strip()
        left_s = deadline - loop.time()
        if left_s <= 0:
            raise AssertionError(f"it did not come about within {within_s:g} s; last seen: {seen}")
        await _pause(min(pause_s, left_s), changed)
        pause_s = min(2 * pause_s, _PAUSE_LAST_S)


async def task_done(client: Client, token: str, *, within_s: float = 30.0) -> Done:
    """The done record of a task, whatever its outcome, as soon as it stands; else AssertionError."""
    from natsume.exceptions import TaskFailed  # noqa: PLC0415

    try:
        await client.result(token, within_s)
    except TaskFailed:
        pass
    except TimeoutError as late:
        raise AssertionError(f"{late}; last seen: {await _known(client, token)}") from None
    done = (await client.status(token)).done
    assert done is not None, f"the done record of {token} stood and is gone"
    return done


async def leases(broker: Broker) -> list[str]:
    """The keys of all locks that are held now, in order."""
    info = await broker.stream_info("KV_locks", subjects_filter=">")
    return sorted(subject.removeprefix("$KV.locks.") for subject in info["state"].get("subjects") or ())


async def _pause(pause_s: float, changed: asyncio.Event | None) -> None:
    if changed is None:
        await asyncio.sleep(pause_s)
        return
    try:
        async with asyncio.timeout(pause_s):
            await changed.wait()
    except TimeoutError:
        return
    changed.clear()


async def _known(client: Client, token: str) -> str:
    from natsume.exceptions import UnknownTask  # noqa: PLC0415

    try:
        status = await client.status(token)
    except UnknownTask as unknown:
        return str(unknown)
    failures = "".join(f"; attempt {one.attempt} failed: {one.failure.message}" for one in status.failures)
    return f"{status.actor} is {status.state}{failures}"
