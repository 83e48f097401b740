"""The clock that the adapter reads: that of whichever process takes its step."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from natsume.adapters.nats import leases as leases_module
from natsume.adapters.nats import line as line_module

_CLOCK = SimpleNamespace(monotonic=lambda: 0.0)


def be_at(now: Callable[[], float]) -> None:
    """Set whose clock the adapter reads from now on."""
    _CLOCK.monotonic = now


def monotonic() -> float:
    """What it shows now."""
    return _CLOCK.monotonic()


@contextmanager
def stepping() -> Iterator[None]:
    """Let the adapter run without an event loop, by the clock of whichever process takes its step."""
    kept = leases_module.time, line_module.asyncio  # type: ignore[attr-defined]
    leases_module.time, line_module.asyncio = _CLOCK, SimpleNamespace(gather=_in_turn)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        leases_module.time, line_module.asyncio = kept  # type: ignore[attr-defined]


async def _in_turn(*given: Coroutine[Any, Any, Any]) -> list[Any]:
    try:
        return [await one for one in given]
    finally:
        for one in given:
            one.close()
